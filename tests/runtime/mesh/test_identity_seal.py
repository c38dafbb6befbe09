"""Attacks on messages, logs and births: nothing that a cell did not say to this one is ever used.

`a` receives; `b` is the cell that others pretend to be; `c` is a cell of the site with keys of its own.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_logs import COUPLINGS, log_of
from nacl import bindings
from nacl.signing import SigningKey
from site_keys import SITE, SiteKeys, private_key

from networld_runtime.contract import Contract
from networld_runtime.episode_log import LARGEST_LOG_BYTES, LARGEST_LOGS, encode_log
from networld_runtime.errors import MessageError
from networld_runtime.log_book import LogBook
from networld_runtime.mesh.authentication import LARGEST_TAGS, TAG_BYTES
from networld_runtime.mesh.identity import Identity
from networld_runtime.mesh.identity_seal import (
    BEARABLE_FORGERIES,
    LARGEST_SEALED_BYTES,
    LARGEST_SIGNED_BIRTH_BYTES,
    SIGNED_MORE_BYTES,
    IdentitySeal,
    pair_secret,
)
from networld_runtime.mesh.message import MeanFieldMessage, encode
from networld_runtime.mesh.neighbours import Neighbours
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.report import to_bytes
from networld_runtime.store.signature import public_key

NAMES = ("a", "b", "c")
EPOCH = 1_790_000_000
DOCS = Path(__file__).parents[3] / "docs"
PROPERTY = settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def keys() -> SiteKeys:
    return SiteKeys.of(NAMES)


def plain(contract: Contract, slot: int = 4, value: float = 1.0, epoch: int = EPOCH) -> bytes:
    values = np.full(contract.message_size, value, dtype=np.float32)
    return encode(MeanFieldMessage(epoch, slot, values), contract)


def listening(contract: Contract, seal: IdentitySeal) -> Neighbours:
    return Neighbours(contract, ["b", "c"], 2, seal=seal, clock=lambda: 0.0)


def refusal(contract: Contract, keys: SiteKeys, sender: str, payload: bytes) -> str:
    """Return why a payload on the topic of `sender` was refused; it was not used for anything."""
    neighbours = listening(contract, keys.seal("a"))
    neighbours.receive(sender, payload)
    assert not neighbours.mean_field(5).any()
    assert neighbours.received == 0
    assert neighbours.last_heard() == {}
    (reason,) = neighbours.rejected()[sender]
    assert neighbours.rejected()[sender][reason] == 1
    return reason


def test_what_a_neighbour_says_is_used_and_small(contract: Contract, keys: SiteKeys) -> None:
    neighbours = listening(contract, keys.seal("a"))
    others = [f"cell-{number}" for number in range(5)]
    site = SiteKeys.of([*NAMES, *others])
    sealed = site.seal("b").close(plain(contract), ["a", *others])
    longest = plain(contract, 2**32 - 1)
    assert len(site.seal("b").close(longest + b"u", ["a", *others])) <= 64
    assert len(sealed) == 1 + 6 * TAG_BYTES + len(plain(contract))
    neighbours.receive("b", sealed)
    assert neighbours.mean_field(5)[0] == 1
    neighbours.receive("b", sealed)
    assert neighbours.rejected()["b"] == {"stale": 1}


def own_name(seal: Callable[[str], IdentitySeal], message: bytes) -> bytes:
    return seal("c").close(message, ["a"])


def for_another_receiver(seal: Callable[[str], IdentitySeal], message: bytes) -> bytes:
    return seal("b").close(message, ["c"])


def reflected(seal: Callable[[str], IdentitySeal], message: bytes) -> bytes:
    return seal("a").close(message, ["b"])


def of_another_site(seal: Callable[[str], IdentitySeal], message: bytes) -> bytes:
    del seal
    return SiteKeys.of(NAMES).seal("b", "other").close(message, ["a"])


def with_another_payload(seal: Callable[[str], IdentitySeal], message: bytes) -> bytes:
    sealed = seal("b").close(message[:-1] + b"\x00", ["a"])
    return sealed[: 1 + TAG_BYTES] + message


def with_all_tags_that_c_can_make(seal: Callable[[str], IdentitySeal], message: bytes) -> bytes:
    """`c` knows its own secrets; over every topic and name it has 16 tags to try."""
    del seal
    private, tags = private_key("c"), []
    for other in ("a", "b"):
        secret = pair_secret(private, public_key(private_key(other)))
        for topic in ("b", "c"):
            for receiver in ("a", "b", "c"):
                said = f"{CellTopics(SITE, topic).message}\0{receiver}\0".encode() + message
                tags.append(tag_of(secret, said))
    return bytes([len(tags)]) + b"".join(tags) + message


def tag_of(secret: bytes, said: bytes) -> bytes:
    return hashlib.blake2b(said, key=secret, digest_size=4, person=b"networld-message").digest()


def moved_start(seal: Callable[[str], IdentitySeal], message: bytes) -> bytes:
    """One tag fewer by its count, so that the last tag counts as part of the message."""
    sealed = seal("b").close(message, ["c", "a"])
    return b"\x01" + sealed[1:]


@pytest.mark.parametrize(
    "attack",
    [
        own_name,
        for_another_receiver,
        reflected,
        of_another_site,
        with_another_payload,
        with_all_tags_that_c_can_make,
        moved_start,
    ],
)
def test_nobody_speaks_for_b(
    contract: Contract,
    keys: SiteKeys,
    attack: Callable[[Callable[[str], IdentitySeal], bytes], bytes],
) -> None:
    payload = attack(keys.seal, plain(contract))
    assert refusal(contract, keys, "b", payload) == "forged"


def test_words_of_b_on_the_topic_of_c_are_nobodys(contract: Contract, keys: SiteKeys) -> None:
    payload = keys.seal("b").close(plain(contract), ["a", "c"])
    assert refusal(contract, keys, "c", payload) == "forged"


def test_keys_that_an_operator_swapped_let_nobody_in(contract: Contract, keys: SiteKeys) -> None:
    swapped = SiteKeys(keys.private, {**keys.public, "b": keys.public["c"], "c": keys.public["b"]})
    for sender in ("b", "c"):
        payload = keys.seal(sender).close(plain(contract), ["a"])
        assert refusal(contract, swapped, sender, payload) == "forged"


def test_who_has_no_key_here_is_not_believed(contract: Contract, keys: SiteKeys) -> None:
    payload = keys.seal("b").close(plain(contract), ["a"])
    del keys.public["b"]
    assert refusal(contract, keys, "b", payload) == "unknown_sender"
    assert keys.seal("c").close(payload, ["b"])[0] == 0  # nor is anything sealed for it


def test_a_foreign_contract_is_told_from_a_forgery(contract: Contract, keys: SiteKeys) -> None:
    theirs = plain(replace(contract, discount=0.5))
    assert refusal(contract, keys, "b", keys.seal("b").close(theirs, ["a"])) == "contract"


@pytest.mark.parametrize(
    ("begin", "reason"),
    [
        (b"", "unsigned"),  # as a cell without keys sends it
        (b"\x00", "unsigned"),
        (b"\x01", "forged"),
        (b"\x10" + bytes(64), "forged"),
        (b"\x11" + bytes(68), "malformed"),
        (b"\xff" + bytes(1020), "size"),
        (b"\xff", "malformed"),
    ],
)
def test_counts_of_tags_that_nobody_sends(
    contract: Contract, keys: SiteKeys, begin: bytes, reason: str
) -> None:
    assert refusal(contract, keys, "b", begin + plain(contract)) == reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "unsigned"),
        (b"\x01", "malformed"),
        (b"\x02" + bytes(7), "malformed"),
        (b"\xff" + bytes(500), "malformed"),
        (b"\x01" + bytes(LARGEST_SEALED_BYTES), "size"),
    ],
)
def test_payloads_that_hold_no_message(
    contract: Contract, keys: SiteKeys, payload: bytes, reason: str
) -> None:
    assert refusal(contract, keys, "b", payload) == reason


@PROPERTY
@given(st.data())
def test_flipped_bits_change_nothing_or_make_a_forgery(
    contract: Contract, data: st.DataObject
) -> None:
    """A flip in the tag of another receiver is nothing to us: the message is what was said."""
    keys = SiteKeys.of([*NAMES, "d"])
    receivers = data.draw(st.permutations(["a", "c", "d"]))
    sealed = bytearray(keys.seal("b").close(plain(contract), receivers))
    flips = data.draw(st.lists(st.integers(0, 8 * len(sealed) - 1), min_size=1, max_size=4))
    original = bytes(sealed)
    for flip in flips:
        sealed[flip // 8] ^= 1 << flip % 8
    own = 1 + TAG_BYTES * receivers.index("a")
    relevant = {0, *range(own, own + TAG_BYTES), *range(1 + 3 * TAG_BYTES, len(sealed))}
    same = all(sealed[place] == original[place] for place in relevant)
    neighbours = listening(contract, keys.seal("a"))
    neighbours.receive("b", bytes(sealed))
    assert neighbours.received == same
    assert neighbours.mean_field(5)[-1] == same / 2
    if not same:
        assert set(neighbours.rejected()["b"]) <= {"forged", "malformed", "unsigned"}


@PROPERTY
@given(st.binary(max_size=700), st.integers(0, 255))
def test_random_bytes_are_counted_and_never_used(
    contract: Contract, payload: bytes, count: int
) -> None:
    keys = SiteKeys.of(NAMES)
    reason = refusal(contract, keys, "b", bytes([count]) + payload)
    assert reason in {"forged", "malformed", "unsigned", "size"}


def test_only_the_first_sixteen_receivers_get_a_tag(contract: Contract) -> None:
    names = [f"n{number}" for number in range(LARGEST_TAGS + 1)]
    keys = SiteKeys.of([*names, "b"])
    sealed = keys.seal("b").close(plain(contract), names)
    assert sealed[0] == LARGEST_TAGS
    assert keys.seal(names[-2]).open("b", sealed) == plain(contract)
    with pytest.raises(MessageError, match="forged"):
        keys.seal(names[-1]).open("b", sealed)


def test_guessing_is_stopped_and_forgiven(contract: Contract, keys: SiteKeys) -> None:
    now_s = [0.0]
    others = {name: keys.public[name] for name in ("b", "c")}
    seal = IdentitySeal(SITE, Identity("a", keys.private["a"], others), lambda: now_s[0])
    neighbours = listening(contract, seal)
    for number in range(10_000):
        guess = b"\x10" + number.to_bytes(64, "big") + plain(contract)
        neighbours.receive("b", guess)
        neighbours.mean_field(0)  # slot by slot, or it would be refused as a flood
    reasons = neighbours.rejected()["b"]
    assert reasons == {"forged": BEARABLE_FORGERIES, "too_many": 10_000 - BEARABLE_FORGERIES}
    sealed = [keys.seal("b").close(plain(contract, slot), ["a"]) for slot in range(3)]
    neighbours.receive("c", keys.seal("c").close(plain(contract), ["a"]))
    neighbours.receive("b", sealed[0])
    assert neighbours.received == 1  # c is heard all the time, b not yet
    now_s[0] += 1.5
    for payload in sealed:
        neighbours.receive("b", payload)
    assert neighbours.received == 4


def test_a_recording_of_an_earlier_epoch_is_refused_after_a_restart(
    contract: Contract, keys: SiteKeys
) -> None:
    recorded = keys.seal("b").close(plain(contract, 4, epoch=EPOCH - 1), ["a"])
    neighbours = Neighbours(
        contract,
        ["b", "c"],
        2,
        seal=keys.seal("a"),
        last_heard={"b": (EPOCH, -1)},
        clock=lambda: 0.0,
    )
    neighbours.receive("b", recorded)
    assert neighbours.rejected()["b"] == {"stale": 1}
    assert not neighbours.mean_field(5).any()
    neighbours.receive("b", keys.seal("b").close(plain(contract, 4), ["a"]))
    assert neighbours.mean_field(5)[0] == 1


def test_a_key_that_comes_back_brings_no_recordings_back(
    contract: Contract, keys: SiteKeys
) -> None:
    neighbours, first = listening(contract, keys.seal("a")), keys.seal("b")
    recorded = first.close(plain(contract, 9), ["a"])
    neighbours.receive("b", recorded)
    public, private = keys.public["b"], keys.private["b"]
    keys.private["b"] = private_key("new")
    keys.public["b"] = public_key(keys.private["b"])
    neighbours.go_on_with(keys.seal("a"), {})
    neighbours.receive("b", keys.seal("b").close(plain(contract, 4), ["a"]))
    keys.public["b"], keys.private["b"] = public, private
    neighbours.go_on_with(keys.seal("a"), {})
    neighbours.receive("b", recorded)
    assert neighbours.rejected()["b"] == {"stale": 1}
    neighbours.receive("b", first.close(plain(contract, 10), ["a"]))
    assert neighbours.last_heard()["b"][1] == 10


def test_what_was_heard_before_the_start_is_no_news(contract: Contract, keys: SiteKeys) -> None:
    before = Neighbours(contract, ["b"], 2, seal=keys.seal("a"), clock=lambda: 0.0)
    recorded = [keys.seal("b").close(plain(contract, slot), ["a"]) for slot in range(5, 10)]
    for payload in recorded:
        before.receive("b", payload)
    after = Neighbours(
        contract, ["b"], 2, seal=keys.seal("a"), last_heard=before.last_heard(), clock=lambda: 0.0
    )
    for payload in recorded:  # of the same epoch, as after a restart of the receiver alone
        after.receive("b", payload)
    assert after.rejected()["b"] == {"stale": 5}
    assert not after.mean_field(8).any()


def test_a_new_key_begins_anew_and_the_old_one_ends(contract: Contract, keys: SiteKeys) -> None:
    neighbours = listening(contract, keys.seal("a"))
    old = keys.seal("b")
    for name in ("b", "c"):
        payload = keys.seal(name).close(plain(contract, 9, epoch=2**32 - 1), ["a"])
        neighbours.receive(name, payload)
    keys.private["b"] = private_key("new")
    keys.public["b"] = public_key(keys.private["b"])
    neighbours.go_on_with(keys.seal("a"), {})
    assert neighbours.last_heard() == {"c": (2**32 - 1, 9)}
    neighbours.receive("b", old.close(plain(contract, 10), ["a"]))
    assert neighbours.rejected()["b"] == {"forged": 1}
    neighbours.receive("b", keys.seal("b").close(plain(contract, 4, 0.5), ["a"]))
    assert neighbours.mean_field(5)[0] == pytest.approx(0.5, abs=0.01)


# Logs


def log(contract: Contract, slots: int = 4, epoch: int = EPOCH) -> bytes:
    return encode_log(log_of(contract, ["a"], range(slots), 1, epoch), contract)


def book_after(
    contract: Contract, keys: SiteKeys, *payloads: bytes, oldest: int = 0
) -> tuple[int, dict[str, int]]:
    """Return how many logs of `b` are there after some payloads on its topic, and what was rejected."""
    book = LogBook(contract, COUPLINGS, ["b", "c"], 100, keys.seal("a"))
    book.expect({"b": (oldest, 0)})
    for payload in payloads:
        book.receive("b", payload)
    return len(book.logs()["b"]), book.rejected()["b"]


def test_a_log_counts_if_its_sender_signed_it(contract: Contract, keys: SiteKeys) -> None:
    good = keys.seal("b").sign_log(log(contract))
    assert len(good) == 64 + len(log(contract))
    assert book_after(contract, keys, good) == (1, {})
    assert book_after(contract, keys, log(contract)) == (0, {"forged": 1})
    assert book_after(contract, keys, b"short") == (0, {"unsigned": 1})
    assert book_after(contract, keys, bytes(2 * LARGEST_LOG_BYTES)) == (0, {"size": 1})
    for other in (keys.seal("c"), keys.seal("a"), keys.seal("b", "other")):
        assert book_after(contract, keys, other.sign_log(log(contract))) == (0, {"forged": 1})
    del keys.public["b"]
    assert book_after(contract, keys, good) == (0, {"unknown_sender": 1})


def test_no_recorded_log_counts_again(contract: Contract, keys: SiteKeys) -> None:
    seal = keys.seal("b")
    early, late = (seal.sign_log(log(contract, slots)) for slots in (3, 5))
    assert book_after(contract, keys, late, early) == (1, {"stale": 1})
    past = seal.sign_log(log(contract, epoch=EPOCH - 1))
    assert book_after(contract, keys, past, oldest=EPOCH) == (0, {"stale": 1})
    assert book_after(contract, keys, late, oldest=EPOCH) == (1, {})


@PROPERTY
@given(st.lists(st.integers(0, 8 * 400), min_size=1, max_size=3))
def test_a_log_with_flipped_bits_is_forged(contract: Contract, flips: list[int]) -> None:
    keys = SiteKeys.of(NAMES)
    original = keys.seal("b").sign_log(log(contract))
    payload = bytearray(original)
    for flip in flips:
        payload[flip // 8 % len(payload)] ^= 1 << flip % 8
    expected = (1, {}) if bytes(payload) == original else (0, {"forged": 1})
    assert book_after(contract, keys, bytes(payload)) == expected


def test_the_longest_signed_log_passes_through_the_brokers(
    contract: Contract, keys: SiteKeys
) -> None:
    names = [f"{number}{'n' * 31}" for number in range(6)]
    longest = encode_log(log_of(contract, names, range(9000), 1, 2**32 - 1), contract)
    assert len(longest) > LARGEST_LOG_BYTES - 1024  # it was cut
    assert len(keys.seal("b").sign_log(longest)) <= LARGEST_LOG_BYTES
    assert LARGEST_LOGS == 16


# Births

BIRTH = {"version": 1, "epoch": EPOCH, "neighbours": ["a"], "slot_s": 0.02, "task": "power"}


def birth_refusal(keys: SiteKeys, payload: bytes, sender: str = "b") -> str:
    with pytest.raises(MessageError) as caught:
        keys.seal("a").open_birth(sender, payload)
    return caught.value.reason


def test_a_birth_is_read_without_keys_as_before(keys: SiteKeys) -> None:
    signed = keys.seal("b").sign_birth(to_bytes(BIRTH))
    assert json.loads(signed) == {**BIRTH, "signature": json.loads(signed)["signature"]}
    assert len(signed) == len(to_bytes(BIRTH)) + SIGNED_MORE_BYTES - 1
    assert keys.seal("a").open_birth("b", signed) == to_bytes(BIRTH)
    spaced = json.dumps(BIRTH, indent=2).encode()  # the same JSON, other bytes
    assert keys.seal("a").open_birth("b", keys.seal("b").sign_birth(spaced)) == spaced


def test_a_birth_counts_if_its_sender_signed_it(keys: SiteKeys) -> None:
    signed = keys.seal("b").sign_birth(to_bytes(BIRTH))
    assert birth_refusal(keys, to_bytes(BIRTH)) == "unsigned"
    assert birth_refusal(keys, signed, "c") == "forged"
    assert birth_refusal(keys, keys.seal("c").sign_birth(to_bytes(BIRTH))) == "forged"
    assert birth_refusal(keys, signed, "z") == "unknown_sender"
    log_signature = b64encode(keys.seal("b").sign_log(to_bytes(BIRTH))[:64])
    from_log = signed[:-90] + log_signature + signed[-2:]
    assert birth_refusal(keys, from_log) == "forged"


def _ended(signature: bytes) -> bytes:
    return b'{"a":1,"signature":"' + signature + b'"}'


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "unsigned"),
        (b"\xff" * 200, "unsigned"),
        (b" " * (LARGEST_SIGNED_BIRTH_BYTES + 1), "size"),
        (_ended(b""), "unsigned"),
        (_ended(b"A" * 87), "unsigned"),
        (_ended(b"A" * 88), "unsigned"),  # 66 bytes
        (_ended(b"A" * 86 + b"=="), "forged"),
        (_ended(b"A" * 85 + b"B=="), "unsigned"),  # not the one way to write it
        (_ended(b"A" * 86 + b"==") + b" ", "unsigned"),
    ],
)
def test_payloads_that_are_no_birth(keys: SiteKeys, payload: bytes, reason: str) -> None:
    assert birth_refusal(keys, payload) == reason


@PROPERTY
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_birth_with_any_other_byte_is_refused(place: int, change: int) -> None:
    keys = SiteKeys.of(NAMES)
    changed = bytearray(keys.seal("b").sign_birth(to_bytes(BIRTH)))
    changed[place % len(changed)] ^= change
    assert birth_refusal(keys, bytes(changed)) in {"forged", "unsigned"}


# Bytes


def test_bytes_of_a_sealed_message_are_those_of_the_document() -> None:
    """Computed once more, with nothing of ours."""
    vectors = json.loads((DOCS / "protocol" / "vectors.json").read_text())["sealed"]
    vector = {**vectors["sent"], "site": vectors["site"]}
    keys = {
        name: SigningKey(bytes.fromhex(pair["private"])) for name, pair in vectors["keys"].items()
    }
    own = keys[vector["sender"]]
    message = bytes.fromhex(vector["message"])
    tags = []
    for name in vector["receivers"]:
        other = keys[name].verify_key
        shared = bindings.crypto_scalarmult(
            bytes(own.to_curve25519_private_key()), bytes(other.to_curve25519_public_key())
        )
        both = min(bytes(own.verify_key), bytes(other)) + max(bytes(own.verify_key), bytes(other))
        secret = hashlib.blake2b(shared + both, digest_size=32, person=b"networld-pair").digest()
        assert secret.hex() == vector["secrets"][name]
        topic = f"networld/v1/{vector['site']}/{vector['sender']}/message"
        tags.append(tag_of(secret, b"\0".join((topic.encode(), name.encode(), message))))
    sealed = bytes([len(tags)]) + b"".join(tags) + message
    assert sealed.hex() == vector["sealed"]
    cells = {name: bytes(key.verify_key) for name, key in keys.items()}
    for name, key in keys.items():
        others = {other: cell for other, cell in cells.items() if other != name}
        seal = IdentitySeal(vector["site"], Identity(name, bytes(key), others))
        if name == vector["sender"]:
            assert seal.close(message, vector["receivers"]) == sealed
        else:
            assert seal.open(vector["sender"], sealed) == message
    text = (DOCS / "protocol.md").read_text()
    assert all(tag.hex() in text for tag in tags)
    assert vector["sealed"] in text


def test_nothing_that_a_lost_key_opened_counts_after_the_change(
    contract: Contract, keys: SiteKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop takes new keys while the network thread opens a payload with the old ones."""
    changed = SiteKeys.of(NAMES)
    changed.private["b"] = private_key("n")
    changed.public["b"] = public_key(private_key("n"))
    before, after = keys.seal("a"), changed.seal("a")
    neighbours = Neighbours(contract, ["b"], 3, seal=before)
    book = LogBook(contract, COUPLINGS, ["b"], 100, before)
    open_message, open_log = before.open, before.open_log

    def open_late(sender: str, payload: bytes) -> bytes:
        opened = open_message(sender, payload)
        neighbours.go_on_with(after, {})
        return opened

    def open_log_late(sender: str, payload: bytes) -> bytes:
        opened = open_log(sender, payload)
        book.go_on_with(after)
        return opened

    monkeypatch.setattr(before, "open", open_late)
    monkeypatch.setattr(before, "open_log", open_log_late)
    forger = keys.seal("b")
    neighbours.receive("b", forger.close(plain(contract, epoch=2**32 - 1), ["a"]))
    log = encode_log(log_of(contract, ["a"], range(4), 1, 2**32 - 1), contract)
    book.receive("b", forger.sign_log(log))
    assert not neighbours.mean_field(5).any()
    assert neighbours.last_heard() == {}
    assert book.logs()["b"] == []
    assert neighbours.rejected()["b"] == book.rejected()["b"] == {"forged": 1}
    neighbours.receive("b", changed.seal("b").close(plain(contract), ["a"]))
    assert neighbours.mean_field(5)[-1] == 1
