"""Keys, sealed messages, and what others make of them who lack the keys; signed logs and births."""

from __future__ import annotations

import json

from networld_runtime.contract import Contract
from networld_runtime.mesh.identity import Identity
from networld_runtime.mesh.identity_seal import IdentitySeal, pair_secret
from networld_runtime.mesh.message import STEPS
from networld_runtime.store.signature import public_key
from protocol_vectors.contracts import EPOCH, SLOT, Case
from protocol_vectors.messages import counts_of, said
from protocol_vectors.others import BIRTH, log

SITE, CELLS = "demo", ("cell-0", "cell-1", "cell-2", "cell-3")


def private_key(cell: str) -> bytes:
    """Return the key of a cell of the examples: 32 bytes of 01, 02 ..."""
    return bytes([CELLS.index(cell) + 1]) * 32


def seal_of(cell: str, site: str = SITE) -> IdentitySeal:
    """Return the seal of a cell that knows `cell-0` to `cell-2`."""
    others = {name: public_key(private_key(name)) for name in CELLS[:3] if name != cell}
    return IdentitySeal(site, Identity(cell, private_key(cell), others))


def sealed(contract: Contract) -> Case:
    """Return keys, secrets, sealed messages and forged ones; all arrive on the topic of `sender`."""
    sender, *receivers = CELLS[:3]
    message, _ = said(contract, counts_of(16, STEPS), 8, None, EPOCH, SLOT)
    good = seal_of(sender).close(message, receivers)
    other, _ = said(contract, [0] * 16, 8, None, EPOCH, SLOT)
    bulky = seal_of(sender).close(bytes(513), ["cell-1"])
    secrets = {
        name: pair_secret(private_key(sender), public_key(private_key(name))).hex()
        for name in receivers
    }
    received = [
        arrived("for two receivers", "cell-1", good, opened=message),
        arrived("for two receivers", "cell-2", good, opened=message),
        arrived("for one receiver", "cell-1", seal_of(sender).close(message, ["cell-1"]), message),
        arrived(
            "its tags in another order",
            "cell-1",
            seal_of(sender).close(message, ["cell-2", "cell-1"]),
            message,
        ),
        arrived("16 tags", "cell-1", b"\x10" + bytes(60) + good[1:5] + message, message),
        arrived(
            "for somebody else",
            "cell-2",
            seal_of(sender).close(message, ["cell-1"]),
            reason="forged",
        ),
        arrived(
            "one bit of the tag changed",
            "cell-1",
            good[:1] + bytes([good[1] ^ 1]) + good[2:],
            reason="forged",
        ),
        arrived(
            "one bit of the message changed",
            "cell-1",
            good[:-1] + bytes([good[-1] ^ 1]),
            reason="forged",
        ),
        arrived("tags of another message", "cell-1", good[:9] + other, reason="forged"),
        arrived(
            "sealed by another cell",
            "cell-1",
            seal_of("cell-2").close(message, ["cell-1"]),
            reason="forged",
        ),
        arrived(
            "its own words sent back",
            "cell-1",
            seal_of("cell-1").close(message, [sender]),
            reason="forged",
        ),
        arrived(
            "of another site",
            "cell-1",
            seal_of(sender, "other").close(message, ["cell-1"]),
            reason="forged",
        ),
        arrived("one tag fewer by its count", "cell-2", b"\x01" + good[1:], reason="forged"),
        arrived("more tags by its count", "cell-1", b"\x10" + good[1:], reason="malformed"),
        arrived("17 tags", "cell-1", b"\x11" + bytes(68) + message, reason="malformed"),
        arrived("a count and nothing", "cell-1", b"\x01", reason="malformed"),
        arrived("nothing", "cell-1", b"", reason="unsigned"),
        arrived("no tags", "cell-1", b"\x00" + message, reason="unsigned"),
        arrived("a message without a seal", "cell-1", message, reason="unsigned"),
        arrived("577 bytes", "cell-1", b"\x01" + bytes(576), reason="forged"),
        arrived("578 bytes", "cell-1", b"\x01" + bytes(577), reason="size"),
        arrived(
            "a good seal around 513 bytes; rejected when that is read",
            "cell-1",
            bulky,
            reason="size",
        ),
        arrived(
            "of a cell without a public key",
            "cell-1",
            seal_of("cell-3").close(message, ["cell-1"]),
            reason="unknown_sender",
            sender="cell-3",
        ),
    ]
    return {
        "site": SITE,
        "keys": {
            name: {
                "private": private_key(name).hex(),
                "public": public_key(private_key(name)).hex(),
            }
            for name in CELLS[:3]
        },
        "sent": {
            "sender": sender,
            "receivers": receivers,
            "secrets": secrets,
            "message": message.hex(),
            "sealed": good.hex(),
        },
        "received": received,
    }


def arrived(
    about: str,
    receiver: str,
    payload: bytes,
    opened: bytes | None = None,
    reason: str | None = None,
    sender: str = CELLS[0],
) -> Case:
    """Return what a receiver makes of a payload on the topic of a sender."""
    verdict = {"reason": reason} if opened is None else {"message": opened.hex()}
    return {
        "about": about,
        "sender": sender,
        "receiver": receiver,
        "payload": payload.hex(),
        **verdict,
    }


def signed(contract: Contract, couplings: int) -> Case:
    """Return signed logs and births, and forged ones, as they arrive on the topic of `sender`."""
    sender, other = CELLS[:2]
    plain, _ = log(contract, couplings)
    good = seal_of(sender).sign_log(plain)
    unknown = seal_of("cell-3").sign_log(plain)
    logs = [
        arrived("signed", other, good, opened=plain),
        arrived("without a signature", other, plain, reason="forged"),
        arrived("63 bytes", other, good[:63], reason="unsigned"),
        arrived(
            "one bit of the signature changed",
            other,
            bytes([good[0] ^ 1]) + good[1:],
            reason="forged",
        ),
        arrived(
            "one bit of the log changed", other, good[:-1] + bytes([good[-1] ^ 1]), reason="forged"
        ),
        arrived(
            "signed by another cell", other, seal_of("cell-2").sign_log(plain), reason="forged"
        ),
        arrived(
            "of another site", other, seal_of(sender, "other").sign_log(plain), reason="forged"
        ),
        arrived(
            "of a cell without a public key",
            other,
            unknown,
            reason="unknown_sender",
            sender="cell-3",
        ),
    ]
    birth = {**BIRTH, "position_m": [1.5, -250], "software": "\u00e9"}
    plain_birth = json.dumps(birth, separators=(",", ":")).encode()
    spaced = json.dumps(dict(reversed(birth.items())), indent=2, ensure_ascii=False).encode()
    text, of_spaced = (seal_of(sender).sign_birth(one) for one in (plain_birth, spaced))
    foreign = seal_of("cell-2").sign_birth(plain_birth)
    data = json.loads(text)
    first = {"signature": data["signature"], **birth}
    births = [
        arrived("signed", other, text, opened=plain_birth),
        arrived("with other spaces and order", other, of_spaced, opened=spaced),
        arrived("without a signature", other, plain_birth, reason="unsigned"),
        arrived(
            "another epoch", other, text.replace(b"1790000000", b"1790000001"), reason="forged"
        ),
        arrived("one more space", other, text.replace(b":", b": ", 1), reason="forged"),
        arrived("signed by another cell", other, foreign, reason="forged"),
        arrived(
            "a signature that is not the last field",
            other,
            json.dumps(first, separators=(",", ":")).encode(),
            reason="unsigned",
        ),
        arrived("a space behind the signature", other, text + b" ", reason="unsigned"),
        arrived("a signature that is no base64", other, text[:-3] + b'!"}', reason="unsigned"),
        arrived("a signature that is one short", other, text[:-4] + b'="}', reason="unsigned"),
        arrived("no end", other, text[:-1], reason="unsigned"),
        arrived("no object", other, b"[]", reason="unsigned"),
        arrived("nothing", other, b"", reason="unsigned"),
    ]
    return {"logs": logs, "births": [as_text(one) for one in births]}


def as_text(one: Case) -> Case:
    """Return a case whose payloads are JSON with these as text."""
    return {
        key: bytes.fromhex(value).decode() if key in {"payload", "message"} else value
        for key, value in one.items()
    }
