"""Configuration of a cell: a TOML file, read into frozen dataclasses, every mistake told at once."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from networld_runtime.config_table import Table, suggestion
from networld_runtime.errors import ConfigError
from networld_runtime.planner_settings import DENOISERS, MODES
from networld_runtime.solver import SOLVERS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_FILE_BYTES = 1 << 16


@dataclass(frozen=True)
class CellConfig:
    """`[cell]`: who this is. `neighbours` are the cells whose messages are used."""

    site: str
    name: str
    task: str
    neighbours: tuple[str, ...]


@dataclass(frozen=True)
class BundleConfig:
    """`[bundle]`: where the model is: the folder that `export` wrote, or a store of signed bundles.

    Exactly one of `path` and `store` is given; `trusted_keys` is the folder of the keys that a bundle of a
    store must be signed with. `probation_slots` is how many slots a bundle must act in before it counts as
    proven, and with `probation_bad_slots` bad ones among them it is taken back.
    """

    path: Path | None = None
    store: Path | None = None
    trusted_keys: Path | None = None
    probation_slots: int = 500
    probation_bad_slots: int = 10


@dataclass(frozen=True)
class BrokerConfig:
    """`[broker]`: where the MQTT broker is. The password stays in its file until it is needed."""

    host: str = "127.0.0.1"
    port: int = 1883
    keep_alive_s: int = 10
    connect_timeout_s: float = 5.0
    username: str | None = None
    password_file: Path | None = None

    def password(self) -> str | None:
        """Read the password, without the line's end.

        Raises:
            ConfigError: The file cannot be read.
        """
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise ConfigError(
                str(self.password_file), f"password cannot be read: {reason}"
            ) from None


@dataclass(frozen=True)
class PlannerConfig:
    """`[planner]`: what to change of the bundle's own settings; None keeps the bundle's."""

    mode: str | None = None
    denoiser: str | None = None
    steps: int | None = None
    candidates: int | None = None
    guidance_scale: float | None = None
    temperature: float | None = None
    warm_start_level: float | None = None
    solver: str | None = None
    anytime: bool | None = None
    seed: int = 0

    def changes(self) -> dict[str, Any]:
        """Return the settings that differ from the bundle's, without the seed."""
        return _given(self, without="seed")


@dataclass(frozen=True)
class TimingConfig:
    """`[timing]`: length of a slot (None: the contract's) and how old a message may be."""

    slot_s: float | None = None
    maximum_message_age_slots: int = 3


@dataclass(frozen=True)
class AdaptationConfig:
    """`[adaptation]`: adaptation on the device; None keeps the bundle's.

    `capacity_slots` is how much experience is kept in memory, of the cell and of each neighbour. `gather_s`
    is how long the neighbours' logs are waited for.
    """

    enabled: bool = True
    capacity_slots: int = 4096
    gather_s: float = 5.0
    steps: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    gradient_norm: float | None = None
    query_share: float | None = None
    minimum_slots: int | None = None
    passes: int | None = None

    def changes(self) -> dict[str, Any]:
        """Return the training settings that differ from the defaults."""
        given = _given(self, without="enabled")
        del given["capacity_slots"], given["gather_s"]
        return given


@dataclass(frozen=True)
class StateConfig:
    """`[state]`: the one folder that the agent writes to."""

    directory: Path


@dataclass(frozen=True)
class Config:
    """Everything that a cell is told by its file."""

    path: Path
    cell: CellConfig
    bundle: BundleConfig
    broker: BrokerConfig
    planner: PlannerConfig
    timing: TimingConfig
    adaptation: AdaptationConfig
    state: StateConfig


TABLES = [field.name for field in fields(Config) if field.name != "path"]


def load_config(path: Path) -> Config:
    """Read and check a configuration file; relative paths start at the file's folder.

    Raises:
        ConfigError: The file cannot be read or holds mistakes; lists all of them.
    """
    data = _read(path)
    problems = [
        f"{name}: unknown table or key{suggestion(name, TABLES)}"
        for name in data
        if name not in TABLES
    ]
    tables = {name: Table(name, data.get(name, {}), problems) for name in TABLES}
    folder = path.resolve().parent
    config = Config(
        path=path.resolve(),
        cell=_cell(tables["cell"]),
        bundle=_bundle(tables["bundle"], folder),
        broker=_broker(tables["broker"], folder),
        planner=_planner(tables["planner"]),
        timing=_timing(tables["timing"]),
        adaptation=_adaptation(tables["adaptation"]),
        state=StateConfig(_path(tables["state"], "directory", folder)),
    )
    for table in tables.values():
        table.finish()
    if problems:
        raise ConfigError(str(path), problems)
    return config


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


def _cell(table: Table) -> CellConfig:
    cell = CellConfig(
        site=table.name_of("site"),
        name=table.name_of("name"),
        task=table.required_text("task"),
        neighbours=table.names("neighbours"),
    )
    if cell.name and cell.name in cell.neighbours:
        table.problem("neighbours", f"holds the cell itself, {cell.name!r}")
    return cell


def _bundle(table: Table, folder: Path) -> BundleConfig:
    default = BundleConfig()
    given = {key: table.text(key, None) for key in ("path", "store", "trusted_keys")}
    paths = {key: None if text is None else folder / text for key, text in given.items()}
    slots = table.integer("probation_slots", default.probation_slots, 1, 1 << 30) or 1
    bundle = BundleConfig(
        **paths,
        probation_slots=slots,
        probation_bad_slots=table.integer(
            "probation_bad_slots", default.probation_bad_slots, 1, 1 << 30
        )
        or 1,
    )
    if (bundle.path is None) == (bundle.store is None):
        table.problem(
            "path", "expected either path, the folder of a bundle, or store, that of a bundle store"
        )
    if bundle.store is not None and bundle.trusted_keys is None:
        table.problem("trusted_keys", "missing, expected the folder of trusted *.pub keys")
    if bundle.store is None and bundle.trusted_keys is not None:
        table.problem("trusted_keys", "needs a store beside it: a bundle by path is not signed")
    return bundle


def _broker(table: Table, folder: Path) -> BrokerConfig:
    default = BrokerConfig()
    password_file = table.text("password_file", None)
    broker = BrokerConfig(
        host=table.text("host", default.host) or "",
        port=table.integer("port", default.port, 1, 65535) or 0,
        keep_alive_s=table.integer("keep_alive_s", default.keep_alive_s, 1, 3600) or 0,
        connect_timeout_s=table.number("connect_timeout_s", default.connect_timeout_s, 0.1, 600)
        or 0,
        username=table.text("username", None),
        password_file=None if password_file is None else folder / password_file,
    )
    if broker.password_file is not None and broker.username is None:
        table.problem("password_file", "needs a username beside it")
    if broker.password_file is not None and not broker.password_file.is_file():
        table.problem("password_file", f"no file at {broker.password_file}")
    return broker


def _planner(table: Table) -> PlannerConfig:
    return PlannerConfig(
        mode=table.choice("mode", MODES),
        denoiser=table.choice("denoiser", DENOISERS),
        steps=table.integer("steps", None, 1, 100),
        candidates=table.integer("candidates", None, 1, 1024),
        guidance_scale=table.number("guidance_scale", None, 0, 10),
        temperature=table.number("temperature", None, 0, 2),
        warm_start_level=table.number("warm_start_level", None, 0, 0.99),
        solver=table.choice("solver", tuple(SOLVERS)),
        anytime=table.flag("anytime", None),
        seed=table.integer("seed", 0, 0, 2**63 - 1) or 0,
    )


def _timing(table: Table) -> TimingConfig:
    default = TimingConfig()
    age = table.integer("maximum_message_age_slots", default.maximum_message_age_slots, 1, 100)
    return TimingConfig(
        slot_s=table.number("slot_s", None, 0.0001, 3600), maximum_message_age_slots=age or 1
    )


def _adaptation(table: Table) -> AdaptationConfig:
    default = AdaptationConfig()
    return AdaptationConfig(
        enabled=table.flag("enabled", default.enabled),
        capacity_slots=table.integer("capacity_slots", default.capacity_slots, 16, 1 << 20) or 16,
        gather_s=table.number("gather_s", default.gather_s, 0, 3600) or 0.0,
        steps=table.integer("steps", None, 1, 100_000),
        learning_rate=table.number("learning_rate", None, 1e-9, 1),
        weight_decay=table.number("weight_decay", None, 0, 1),
        gradient_norm=table.number("gradient_norm", None, 1e-9, 1e9),
        query_share=table.number("query_share", None, 0.05, 0.9),
        minimum_slots=table.integer("minimum_slots", None, 16, 1 << 20),
        passes=table.integer("passes", None, 1, 100_000),
    )


def _path(table: Table, key: str, folder: Path) -> Path:
    return folder / table.required_text(key)


def _given(config: PlannerConfig | AdaptationConfig, without: str) -> dict[str, Any]:
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {name: value for name, value in values.items() if value is not None and name != without}
