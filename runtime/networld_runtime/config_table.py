"""Reads one table of a TOML file key by key and remembers everything that is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, overload

from networld_runtime.topics import NAME_PATTERN

NAME_EXPECTED = "1 to 32 of a-z, 0-9 and -, first a letter or digit"
TEXT_EXPECTED = "a string that is not empty"


class Table:
    """One table while it is read.

    Args:
        name: Name of the table, as in `[name]`.
        data: What the file holds under that name.
        problems: Where problems are added, one line each.
    """

    def __init__(self, name: str, data: object, problems: list[str]) -> None:
        self.name = name
        self._problems = problems
        self._known: list[str] = []
        self._data: Mapping[str, Any] = {}
        if isinstance(data, Mapping):
            self._data = data
        else:
            problems.append(f"{name} = {data!r}: expected a table, [{name}]")

    def name_of(self, key: str) -> str:
        """Return a required name of a site, cell or task."""
        value = self._take(key, NAME_EXPECTED)
        if isinstance(value, str) and NAME_PATTERN.fullmatch(value):
            return value
        self._wrong(key, value, NAME_EXPECTED)
        return ""

    def names(self, key: str) -> tuple[str, ...]:
        """Return a required list of different names."""
        expected = f"a list of different names, each {NAME_EXPECTED}"
        value = self._take(key, expected)
        if (
            isinstance(value, list)
            and all(isinstance(one, str) and NAME_PATTERN.fullmatch(one) for one in value)
            and len(set(value)) == len(value)
        ):
            return tuple(value)
        self._wrong(key, value, expected)
        return ()

    def required_text(self, key: str) -> str:
        """Return a string that must be there and not be empty."""
        value = self._take(key, TEXT_EXPECTED)
        if _is_text(value):
            return str(value)
        self._wrong(key, value, TEXT_EXPECTED)
        return ""

    def text(self, key: str, default: str | None) -> str | None:
        """Return a string that is not empty, `default` if the key is not there."""
        value = self._take_optional(key, default)
        if key not in self._data or _is_text(value):
            return None if value is None else str(value)
        self._wrong(key, value, TEXT_EXPECTED)
        return default

    def choice(self, key: str, choices: tuple[str, ...]) -> str | None:
        """Return one of a few strings, None if the key is not there."""
        value = self._take_optional(key, None)
        if value is None or (isinstance(value, str) and value in choices):
            return value
        self._wrong(key, value, " or ".join(f'"{choice}"' for choice in choices))
        return None

    @overload
    def flag(self, key: str, default: bool) -> bool: ...
    @overload
    def flag(self, key: str, default: None) -> bool | None: ...
    def flag(self, key: str, default: bool | None) -> bool | None:
        """Return true or false, or what is taken where the key is not given."""
        value = self._take_optional(key, default)
        if value is None or isinstance(value, bool):
            return value
        self._wrong(key, value, "true or false")
        return default

    def integer(self, key: str, default: int | None, low: int, high: int) -> int | None:
        """Return an integer from `low` to `high`."""
        value = self._take_optional(key, default)
        if value is None or (type(value) is int and low <= value <= high):
            return value
        self._wrong(key, value, f"an integer from {low} to {high}")
        return default

    def number(self, key: str, default: float | None, low: float, high: float) -> float | None:
        """Return a number from `low` to `high`; integers are taken too."""
        value = self._take_optional(key, default)
        if value is None:
            return None
        if type(value) in (int, float) and low <= value <= high:
            return float(value)
        self._wrong(key, value, f"a number from {low:g} to {high:g}")
        return default

    def finish(self) -> None:
        """Add a problem for every key that nobody asked for, with the nearest key that exists."""
        for key in self._data:
            if key not in self._known:
                self.problem(key, f"unknown key{suggestion(key, self._known)}")

    def problem(self, key: str, text: str) -> None:
        """Add a problem of a key that only a caller can see."""
        self._problems.append(f"{self.name}.{key}: {text}")

    def _take(self, key: str, expected: str) -> Any:
        self._known.append(key)
        if key not in self._data:
            self.problem(key, f"missing, expected {expected}")
        return self._data.get(key)

    def _take_optional(self, key: str, default: Any) -> Any:
        self._known.append(key)
        return self._data.get(key, default)

    def _wrong(self, key: str, value: Any, expected: str) -> None:
        if key in self._data:  # a missing key was reported when it was taken
            self._problems.append(f"{self.name}.{key} = {value!r:.60}: expected {expected}")


def suggestion(word: str, known: list[str]) -> str:
    """Return `; did you mean ...?` with the nearest known word, or the list of all known words."""
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known here: {', '.join(known)}"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value
