"""Configuration of a cell as frozen dataclasses; `config_reader` fills them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from networld_runtime.config_layers import Origin
from networld_runtime.errors import ConfigError
from networld_runtime.execution import ONE_THREAD, Execution
from networld_runtime.mesh.settings import MeshConfig
from networld_runtime.watch.settings import LogConfig, WatchConfig

PROTOCOLS = ("auto", "5", "3.1.1")
"""Versions of MQTT that a cell speaks; auto tries 5 and then 3.1.1."""

MQTT = "mqtt"
"""Kind of the radio that comes with the runtime."""


@dataclass(frozen=True)
class CellConfig:
    """`[cell]`: who this is.

    `neighbours` are the cells whose messages are used: as listed, or by the site's positions (`[mesh]`); none
    yet where they are discovered. `position_m` is where the cell stands, None if nobody said.
    """

    site: str
    name: str
    task: str
    neighbours: tuple[str, ...]
    position_m: tuple[float, float] | None = None


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
    """`[broker]`: where the MQTT broker is. Passwords and keys stay in their files until they are needed.

    With `tls_ca_file` the connection is TLS, and the broker must show a certificate for `host` of one of the
    authorities in that file; `tls_certificate_file` and `tls_key_file` are what the cell shows.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    keep_alive_s: int = 10
    connect_timeout_s: float = 5.0
    username: str | None = None
    password_file: Path | None = None
    protocol: str = "auto"
    tls_ca_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None

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
class AuthenticationConfig:
    """`[authentication]`: proof of who sent a message; given, all that is not proven is rejected.

    `key` is the file of the cell's private key, `cells` the folder of the public keys of all cells,
    `receivers` the cells that use this cell's messages, None for its neighbours.
    """

    key: Path | None = None
    cells: Path | None = None
    receivers: tuple[str, ...] | None = None


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
    largest_norm: float | None = None
    largest_divergence: float | None = None

    def changes(self) -> dict[str, Any]:
        """Return the training settings that differ from the defaults."""
        given = _given(self, without="enabled")
        del given["capacity_slots"], given["gather_s"]
        return given


@dataclass(frozen=True)
class ShieldConfig:
    """`[shield]`: how much a number of the action may change in a slot, in its own unit; None: no limit."""

    largest_change: float | None = None


@dataclass(frozen=True)
class StateConfig:
    """`[state]`: the one folder that the agent writes to."""

    directory: Path


@dataclass(frozen=True)
class RadioConfig:
    """`[radio]`: what observes and acts; `options` go to a radio that is not ours, as they are.

    `folders` says where relative paths among the options start.
    """

    kind: str = MQTT
    options: Mapping[str, Any] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Config:
    """Everything that a cell is told.

    Attributes:
        path: The main file; the other attributes up to `radio` are its tables.
        changes: What the command line changed, for child processes.
        origins: Where each value came from that was given, by its dotted key.
    """

    path: Path
    cell: CellConfig
    bundle: BundleConfig
    broker: BrokerConfig
    planner: PlannerConfig
    timing: TimingConfig
    adaptation: AdaptationConfig
    state: StateConfig
    mesh: MeshConfig = field(default_factory=MeshConfig)
    execution: Execution = ONE_THREAD
    shield: ShieldConfig = ShieldConfig()
    watch: WatchConfig = field(default_factory=WatchConfig)
    log: LogConfig = field(default_factory=LogConfig)
    radio: RadioConfig = RadioConfig()
    authentication: AuthenticationConfig = AuthenticationConfig()
    changes: tuple[str, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict, repr=False, compare=False)


def _given(config: PlannerConfig | AdaptationConfig, without: str) -> dict[str, Any]:
    values = {one.name: getattr(config, one.name) for one in fields(config)}
    return {name: value for name, value in values.items() if value is not None and name != without}
