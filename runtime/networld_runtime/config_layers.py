"""The layers of a configuration: file, drop-in files, environment, command line; later ones win.

Each layer is a nested mapping with one origin. Together they become one mapping in which every value
remembers where it came from.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from networld_runtime.config_table import suggestion
from networld_runtime.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_FILE_BYTES = 1 << 16
PREFIX = "NETWORLD_"
"""How the names of environment variables begin that configure a cell."""
BETWEEN = "__"
"""What stands between table and key in the name of an environment variable."""


@dataclass(frozen=True)
class Origin:
    """Where a value came from.

    Attributes:
        layer: `built-in`, `file`, `drop-in`, `environment` or `command line`.
        name: The file, the variable or the option.
        folder: Where relative paths start.
    """

    layer: str
    name: str = ""
    folder: Path = Path()

    def __str__(self) -> str:
        return f"{self.layer} {self.name}".rstrip()


BUILT_IN = Origin("built-in")
"""Origin of a value that nobody gave."""


@dataclass
class Layers:
    """All layers as one.

    Attributes:
        tables: Names of the tables that exist.
        data: Tables of keys, the last value of each.
        origins: Where each value came from, by its dotted key; values inside a key's table have their own.
        problems: What cannot be read, one line each.
        readable: Whether every file could be read; what is missing means nothing if not.
    """

    tables: Sequence[str]
    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    readable: bool = True

    def add(self, origin: Origin, data: Mapping[str, Any]) -> None:
        """Lay a mapping over what is there: tables are merged, all else is replaced."""
        where = "" if origin.layer == "file" else f" ({origin})"
        for name, value in data.items():
            if name not in self.tables:
                hint = suggestion(name, list(self.tables))
                self.problems.append(f"{name}{where}: unknown table or key{hint}")
            elif not isinstance(value, Mapping):
                self.problems.append(f"{name} = {value!r:.60}{where}: expected a table, [{name}]")
            else:
                self._merge(self.data, {name: value}, "", origin)

    def add_file(self, origin: Origin, path: Path) -> None:
        """Add a TOML file; one that cannot be read is a problem."""
        try:
            data = _read(path)
        except ConfigError as error:
            where = "" if origin.layer == "file" else f"{path}: "
            self.problems += [f"{where}{problem}" for problem in error.problems]
            self.readable = False
            return
        self.add(origin, data)

    def add_drop_ins(self, path: Path) -> None:
        """Add all `*.toml` of the folder `<path>.d`, in the order of their names."""
        folder = path.with_name(f"{path.name}.d")
        try:
            files = sorted(
                one for one in folder.iterdir() if one.suffix == ".toml" and one.name[0] != "."
            )
        except FileNotFoundError:
            return
        except OSError as error:
            self.problems.append(f"{folder}: cannot be read: {error.strerror}")
            self.readable = False
            return
        for file in files:
            self.add_file(Origin("drop-in", str(file), folder), file)

    def add_environment(self, environment: Mapping[str, str], known: Iterable[str]) -> None:
        """Add all variables that begin with `NETWORLD_`.

        Args:
            environment: All variables.
            known: Dotted keys that exist; variables of others are problems.
        """
        variables = {variable_of(key): key for key in known}
        for name, text in sorted(environment.items()):
            if not name.startswith(PREFIX):
                continue
            beginning = BETWEEN.join(name.split(BETWEEN)[:2])
            if beginning not in variables:
                hint = suggestion(name, list(variables))
                self.problems.append(f"{name} (environment): unknown variable{hint}")
                continue
            words = name.removeprefix(PREFIX).lower().split(BETWEEN)
            origin = Origin("environment", name, Path.cwd())
            self.add(origin, _nested(words, value_of(text)))

    def add_changes(self, changes: Sequence[str]) -> None:
        """Add what the command line says, each as `table.key=value`."""
        for change in changes:
            key, equals, text = change.partition("=")
            words = [word.strip() for word in key.split(".")]
            if not equals or len(words) < 2 or not all(words):
                self.problems.append(
                    f"--set {key!r:.60} (command line): expected table.key=value, such as "
                    "broker.port=1884"
                )
                continue
            origin = Origin("command line", f"--set {'.'.join(words)}", Path.cwd())
            self.add(origin, _nested(words, value_of(text)))

    def _merge(
        self, below: dict[str, Any], above: Mapping[str, Any], path: str, origin: Origin
    ) -> None:
        for name, value in above.items():
            key = f"{path}.{name}" if path else name
            if isinstance(value, Mapping):
                if not isinstance(below.get(name), dict):
                    below[name] = {}
                self._merge(below[name], value, key, origin)
            else:
                below[name] = value
            self.origins[key] = origin


def variable_of(key: str) -> str:
    """Return the environment variable of a dotted key: `NETWORLD_BROKER__PORT` of `broker.port`."""
    return PREFIX + key.upper().replace(".", BETWEEN)


def value_of(text: str) -> Any:
    """Return the TOML value that a text is; a text that is none, such as a bare word, is a string."""
    try:
        read = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return read["value"] if read.keys() == {"value"} else text


def _nested(words: Sequence[str], value: Any) -> dict[str, Any]:
    for word in reversed(words):
        value = {word: value}
    return dict(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise ConfigError(str(path), f"larger than {LARGEST_FILE_BYTES} bytes")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError among them
        raise ConfigError(str(path), f"is not valid TOML: {error}") from error
