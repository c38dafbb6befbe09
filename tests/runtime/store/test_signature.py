"""Signatures and keys: only the exact bytes pass, and a file that is no key is named."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.errors import ConfigError, SignatureError
from networld_runtime.store.signature import (
    make_keys,
    public_key,
    read_private_key,
    sign,
    trusted_keys,
    verify,
)

# RFC 8032, section 7.1, test 3
PRIVATE = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
PUBLIC = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
MESSAGE = bytes.fromhex("af82")
SIGNATURE = bytes.fromhex(
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


def test_signs_as_the_standard_says() -> None:
    assert public_key(PRIVATE) == PUBLIC
    assert sign(MESSAGE, PRIVATE) == SIGNATURE
    assert verify(MESSAGE, SIGNATURE, {"other": bytes(32), "rfc": PUBLIC}, "it") == "rfc"


@given(at=st.integers(0, 511))
def test_no_bit_of_a_signature_may_change(at: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[at // 8] ^= 1 << at % 8
    with pytest.raises(SignatureError, match="it: not signed by a trusted key"):
        verify(MESSAGE, bytes(changed), {"rfc": PUBLIC}, "it")


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(SignatureError, match=f"{size} bytes, expected 64"):
        verify(MESSAGE, (SIGNATURE + b"\0")[:size], {"rfc": PUBLIC}, "it")


def test_another_message_or_key_is_refused() -> None:
    with pytest.raises(SignatureError):
        verify(MESSAGE + b"\n", SIGNATURE, {"rfc": PUBLIC}, "it")
    with pytest.raises(SignatureError):
        verify(MESSAGE, SIGNATURE, {"other": public_key(bytes(32))}, "it")


def test_the_all_zero_key_vouches_for_nothing() -> None:
    """Points of small order would let anybody sign."""
    for key in (bytes(32), b"\1" + bytes(31)):
        with pytest.raises(SignatureError):
            verify(MESSAGE, key + bytes(32), {"small": key}, "it")


def test_keys_go_through_files(tmp_path: Path) -> None:
    private, public = make_keys()
    (tmp_path / "one.key").write_text(f"{private} comment\n")
    (tmp_path / "one.pub").write_text(f"{public} a comment of several words\n")
    (tmp_path / "README").write_text("not looked at")
    keys = trusted_keys(tmp_path)
    assert keys == {"one.pub": public_key(read_private_key(tmp_path / "one.key"))}
    assert make_keys() != (private, public)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "not base64!",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        base64.b64encode(bytes(32)).decode() + "\n" + base64.b64encode(bytes(32)).decode(),
        base64.b64encode(bytes(32)).decode().rstrip("="),
        base64.b64encode(bytes(31) + b"\1").decode().replace("E=", "F="),
        "A" * 5000,
        "\xe9\xe9",
    ],
)
def test_a_file_that_is_no_key_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "good.pub").write_text(make_keys()[1])
    (tmp_path / "bad.pub").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"bad.pub: no public key, expected one line: 32 bytes"):
        trusted_keys(tmp_path)


def test_all_bad_keys_are_told_at_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.pub").write_text("no")
    (tmp_path / "c.pub").mkdir()
    with pytest.raises(ConfigError) as caught:
        trusted_keys(tmp_path)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "a.pub",
        "b.pub",
        "c.pub",
    ]


def test_a_folder_without_keys_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no trusted key"):
        trusted_keys(tmp_path)
    with pytest.raises(ConfigError, match=r"No such file or directory; put \*.pub files there"):
        trusted_keys(tmp_path / "none")


def test_a_private_key_is_never_shown(tmp_path: Path) -> None:
    secret = base64.b64encode(b"secret" * 5).decode()
    (tmp_path / "one.key").write_text(secret)
    with pytest.raises(ConfigError) as caught:
        read_private_key(tmp_path / "one.key")
    assert secret not in str(caught.value)
