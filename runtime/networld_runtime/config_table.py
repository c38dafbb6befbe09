"""Reads one table of a configuration key by key and remembers everything that is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from networld_runtime.mesh.topics import NAME_PATTERN

if TYPE_CHECKING:
    from networld_runtime.config_layers import Origin

NAME_EXPECTED = "1 to 32 of a-z, 0-9 and -, first a letter or digit"
TEXT_EXPECTED = "a string that is not empty"


@dataclass(frozen=True)
class Key:
    """A key that may be given.

    Attributes:
        name: Dotted, `table.key`.
        expected: Type and range, in words.
        required: Whether it must be given.
        default: What is taken if it is not given; None if that is somebody else's.
    """

    name: str
    expected: str
    required: bool
    default: Any = None


class Table:
    """One table while it is read.

    Args:
        name: Name of the table, as in `[name]`.
        data: What was given under that name.
        problems: Where problems are added, one line each.
        origins: Where each value came from, by its dotted key; problems of values from the main file do
            not say so.

    Attributes:
        keys: The keys that were asked for so far.
    """

    def __init__(
        self,
        name: str,
        data: Mapping[str, Any],
        problems: list[str],
        origins: Mapping[str, Origin] | None = None,
    ) -> None:
        self.name = name
        self.keys: list[Key] = []
        self._problems = problems
        self._origins = origins or {}
        self._data = data

    def name_of(self, key: str) -> str:
        """Return a required name of a site, cell or task."""
        value = self._take(key, NAME_EXPECTED)
        if isinstance(value, str) and NAME_PATTERN.fullmatch(value):
            return value
        self._wrong(key, value, NAME_EXPECTED)
        return ""

    def names(self, key: str) -> tuple[str, ...] | None:
        """Return a list of different names, None if the key is not there."""
        expected = f"a list of different names, each {NAME_EXPECTED}"
        value = self._take_optional(key, None, expected)
        if value is None or _are_names(value):
            return None if value is None else tuple(value)
        self._wrong(key, value, expected)
        return ()

    def optional_names(self, key: str, largest: int) -> tuple[str, ...] | None:
        """Return a list of different names, None if the key is not there."""
        expected = f"a list of at most {largest} different names, each {NAME_EXPECTED}"
        value = self._take_optional(key, None, expected)
        if value is None:
            return None
        if _are_names(value) and len(value) <= largest:
            return tuple(value)
        self._wrong(key, value, expected)
        return None

    def point(self, key: str, largest: float) -> tuple[float, float] | None:
        """Return two numbers of at most `largest` in size, None if the key is not there."""
        expected = f"[x, y], two numbers of at most {largest:g} in size"
        value = self._take_optional(key, None, expected)
        if (
            isinstance(value, list)
            and len(value) == 2
            and all(type(one) in (int, float) and abs(one) <= largest for one in value)
        ):
            return float(value[0]), float(value[1])
        self._wrong(key, value, expected)
        return None

    def required_text(self, key: str) -> str:
        """Return a string that must be there and not be empty."""
        value = self._take(key, TEXT_EXPECTED)
        if _is_text(value):
            return str(value)
        self._wrong(key, value, TEXT_EXPECTED)
        return ""

    def path(self, key: str) -> Path:
        """Return a required path; a relative one starts at the folder of the file that gave it."""
        return self._folder(key) / self.required_text(key)

    def optional_path(self, key: str) -> Path | None:
        """Return a path as `path` does, None if the key is not there."""
        text = self.text(key, None)
        return None if text is None else self._folder(key) / text

    def text(self, key: str, default: str | None) -> str | None:
        """Return a string that is not empty, `default` if the key is not there."""
        value = self._take_optional(key, default, TEXT_EXPECTED)
        if key not in self._data or _is_text(value):
            return None if value is None else str(value)
        self._wrong(key, value, TEXT_EXPECTED)
        return default

    @overload
    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str: ...
    @overload
    def choice(self, key: str, choices: tuple[str, ...], default: None = None) -> str | None: ...
    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str | None:
        """Return one of a few strings, what is taken otherwise if the key is not there."""
        expected = " or ".join(f'"{choice}"' for choice in choices)
        value = self._take_optional(key, default, expected)
        if value is None or (isinstance(value, str) and value in choices):
            return value
        self._wrong(key, value, expected)
        return default

    def mapping(self, key: str) -> dict[str, Any]:
        """Return a table of any keys, empty if it is not there."""
        value = self._take_optional(key, {}, "a table")
        if isinstance(value, Mapping):
            return dict(value)
        self._wrong(key, value, "a table")
        return {}

    @overload
    def flag(self, key: str, default: bool) -> bool: ...
    @overload
    def flag(self, key: str, default: None) -> bool | None: ...
    def flag(self, key: str, default: bool | None) -> bool | None:
        """Return true or false, or what is taken where the key is not given."""
        expected = "true or false"
        value = self._take_optional(key, default, expected)
        if value is None or isinstance(value, bool):
            return value
        self._wrong(key, value, expected)
        return default

    def integer(self, key: str, default: int | None, low: int, high: int) -> int | None:
        """Return an integer from `low` to `high`."""
        expected = f"an integer from {low} to {high}"
        value = self._take_optional(key, default, expected)
        if value is None or (type(value) is int and low <= value <= high):
            return value
        self._wrong(key, value, expected)
        return default

    def whole(self, key: str, choices: tuple[int, ...], default: int) -> int:
        """Return one of a few integers, what is taken otherwise if the key is not there."""
        expected = " or ".join(map(str, choices))
        value = self._take_optional(key, default, expected)
        if type(value) is int and value in choices:
            return value
        self._wrong(key, value, expected)
        return default

    def number(self, key: str, default: float | None, low: float, high: float) -> float | None:
        """Return a number from `low` to `high`; integers are taken too."""
        expected = f"a number from {low:g} to {high:g}"
        value = self._take_optional(key, default, expected)
        if value is None:
            return None
        if type(value) in (int, float) and low <= value <= high:
            return float(value)
        self._wrong(key, value, expected)
        return default

    def given(self, key: str) -> bool:
        """Return whether a key is there."""
        return key in self._data

    def finish(self) -> None:
        """Add a problem for every key that nobody asked for, with the nearest key that exists."""
        known = [key.name.removeprefix(f"{self.name}.") for key in self.keys]
        for key in self._data:
            if key not in known:
                self.problem(key, f"unknown key{suggestion(key, known)}")

    def problem(self, key: str, text: str) -> None:
        """Add a problem of a key that only a caller can see."""
        self._problems.append(f"{self.name}.{key}{self._where(key)}: {text}")

    def _take(self, key: str, expected: str) -> Any:
        self.keys.append(Key(f"{self.name}.{key}", expected, required=True))
        if key not in self._data:
            self.problem(key, f"missing, expected {expected}")
        return self._data.get(key)

    def _take_optional(self, key: str, default: Any, expected: str) -> Any:
        self.keys.append(Key(f"{self.name}.{key}", expected, required=False, default=default))
        return self._data.get(key, default)

    def _wrong(self, key: str, value: Any, expected: str) -> None:
        if key in self._data:  # a missing key was reported when it was taken
            self._problems.append(
                f"{self.name}.{key} = {value!r:.60}{self._where(key)}: expected {expected}"
            )

    def _where(self, key: str) -> str:
        """Return where a value came from, in parentheses; nothing for the file that all is about."""
        origin = self._origins.get(f"{self.name}.{key}")
        return "" if origin is None or origin.layer == "file" else f" ({origin})"

    def _folder(self, key: str) -> Path:
        origin = self._origins.get(f"{self.name}.{key}")
        return Path() if origin is None else origin.folder


def suggestion(word: str, known: list[str]) -> str:
    """Return `; did you mean ...?` with the nearest known word, or the list of all known words."""
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known here: {', '.join(known)}"


def _are_names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(one, str) and NAME_PATTERN.fullmatch(one) for one in value)
        and len(set(value)) == len(value)
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value
