"""Reads a configuration: layers of TOML into frozen dataclasses, every mistake told at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from networld_runtime.config import (
    MQTT,
    PROTOCOLS,
    AdaptationConfig,
    AuthenticationConfig,
    BrokerConfig,
    BundleConfig,
    CellConfig,
    Config,
    PlannerConfig,
    RadioConfig,
    ShieldConfig,
    StateConfig,
    TimingConfig,
)
from networld_runtime.config_layers import Layers, Origin
from networld_runtime.config_table import Key, Table
from networld_runtime.errors import ConfigError
from networld_runtime.execution import MOST_THREADS, ON_MISSING, ONE_THREAD, PROVIDERS, Execution
from networld_runtime.mesh.authentication import LARGEST_TAGS
from networld_runtime.mesh.broker_tls import file_problems
from networld_runtime.mesh.positions import LARGEST_M
from networld_runtime.mesh.settings import MeshConfig, find_neighbours, read_mesh
from networld_runtime.planner_settings import DENOISERS, MODES
from networld_runtime.solver import SOLVERS
from networld_runtime.watch.settings import read_log, read_watch

TABLES = [one.name for one in fields(Config) if one.name not in {"path", "changes", "origins"}]


def load_config(
    path: Path, changes: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Config:
    """Read and check a configuration.

    A relative path starts at the folder of the file that gave it, at the working directory if the
    environment or the command line did.

    Args:
        path: The main file; files in `<path>.d` come after it.
        changes: What the command line says, each as `table.key=value`.
        environment: Environment variables; None takes the process's own.

    Raises:
        ConfigError: A file cannot be read or a layer holds mistakes; lists all of them.
    """
    layers = Layers(TABLES)
    layers.add_file(Origin("file", str(path), path.resolve().parent), path)
    layers.add_drop_ins(path)
    known = [key.name for key in known_keys()]
    layers.add_environment(os.environ if environment is None else environment, known)
    layers.add_changes(changes)
    if not layers.readable:
        raise ConfigError(str(path), layers.problems)
    config, _ = _build(path, layers, tuple(changes))
    if layers.problems:
        raise ConfigError(str(path), layers.problems)
    return config


def known_keys() -> list[Key]:
    """Return all keys that may be given, in the order of their tables."""
    _, keys = _build(Path(), Layers(TABLES), ())  # what is read from nothing is what can be read
    return keys


def _build(path: Path, layers: Layers, changes: tuple[str, ...]) -> tuple[Config, list[Key]]:
    """Return the configuration, with holes where `layers` has got problems, and all keys."""
    tables = {
        name: Table(name, layers.data.get(name, {}), layers.problems, layers.origins)
        for name in TABLES
    }
    mesh = read_mesh(tables["mesh"])
    config = Config(
        path=path.resolve(),
        cell=_cell(tables["cell"], tables["mesh"], mesh),
        bundle=_bundle(tables["bundle"]),
        broker=_broker(tables["broker"]),
        planner=_planner(tables["planner"]),
        timing=_timing(tables["timing"]),
        adaptation=_adaptation(tables["adaptation"], mesh),
        mesh=mesh,
        execution=_execution(tables["execution"]),
        watch=read_watch(tables["watch"]),
        log=read_log(tables["log"]),
        shield=ShieldConfig(tables["shield"].number("largest_change", None, 1e-6, 1e6)),
        state=StateConfig(tables["state"].path("directory")),
        radio=_radio(tables["radio"], layers.origins),
        authentication=_authentication(tables["authentication"], mesh),
        changes=changes,
        origins=layers.origins,
    )
    for table in tables.values():
        table.finish()
    return config, [key for table in tables.values() for key in table.keys]


def _cell(table: Table, mesh_table: Table, mesh: MeshConfig) -> CellConfig:
    site, name = table.name_of("site"), table.name_of("name")
    task = table.required_text("task")
    listed, position_m = table.names("neighbours"), table.point("position_m", LARGEST_M)
    if name and listed is not None and name in listed:
        table.problem("neighbours", f"holds the cell itself, {name!r}")
    neighbours, position_m = find_neighbours(table, mesh_table, mesh, name, listed, position_m)
    return CellConfig(site, name, task, neighbours, position_m)


def _bundle(table: Table) -> BundleConfig:
    default = BundleConfig()
    slots = table.integer("probation_slots", default.probation_slots, 1, 1 << 30)
    bad_slots = table.integer("probation_bad_slots", default.probation_bad_slots, 1, 1 << 30)
    bundle = BundleConfig(
        path=table.optional_path("path"),
        store=table.optional_path("store"),
        trusted_keys=table.optional_path("trusted_keys"),
        probation_slots=slots or 1,
        probation_bad_slots=bad_slots or 1,
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


def _broker(table: Table) -> BrokerConfig:
    default = BrokerConfig()
    broker = BrokerConfig(
        host=table.text("host", default.host) or "",
        port=table.integer("port", default.port, 1, 65535) or 0,
        keep_alive_s=table.integer("keep_alive_s", default.keep_alive_s, 1, 3600) or 0,
        connect_timeout_s=table.number("connect_timeout_s", default.connect_timeout_s, 0.1, 600)
        or 0,
        username=table.text("username", None),
        password_file=table.optional_path("password_file"),
        protocol=table.choice("protocol", PROTOCOLS, default.protocol),
        tls_ca_file=table.optional_path("tls_ca_file"),
        tls_certificate_file=table.optional_path("tls_certificate_file"),
        tls_key_file=table.optional_path("tls_key_file"),
    )
    if broker.password_file is not None and broker.username is None:
        table.problem("password_file", "needs a username beside it")
    if broker.password_file is not None and not broker.password_file.is_file():
        table.problem("password_file", f"no file at {broker.password_file}; make it")
    for key, problem in file_problems(broker):
        table.problem(key, problem)
    return broker


def _authentication(table: Table, mesh: MeshConfig) -> AuthenticationConfig:
    authentication = AuthenticationConfig(
        key=table.optional_path("key"),
        cells=table.optional_path("cells"),
        receivers=table.optional_names("receivers", LARGEST_TAGS),
    )
    if authentication.key is None and authentication.cells is not None:
        table.problem("key", "missing, expected the file of this cell's private key")
    if authentication.cells is None and authentication.key is not None:
        table.problem("cells", "missing, expected the folder of the cells' *.pub keys")
    if authentication.receivers is not None and authentication.key is None:
        table.problem("receivers", "needs key and cells beside it")
    if mesh.discover and authentication.receivers is None and authentication.key is not None:
        table.problem(
            "receivers",
            "missing, expected the cells that may be neighbours: mesh.discover = true finds those alone "
            "whose keys are known",
        )
    return authentication


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


def _adaptation(table: Table, mesh: MeshConfig) -> AdaptationConfig:
    default = AdaptationConfig()
    enabled = table.flag("enabled", default.enabled)
    if enabled and mesh.discover:
        table.problem(
            "enabled",
            "must be false with mesh.discover = true: a radio tells couplings in the order of the "
            "neighbours, and of discovered ones it knows no order",
        )
    return AdaptationConfig(
        enabled=enabled,
        capacity_slots=table.integer("capacity_slots", default.capacity_slots, 16, 1 << 20) or 16,
        gather_s=table.number("gather_s", default.gather_s, 0, 3600) or 0.0,
        steps=table.integer("steps", None, 1, 100_000),
        learning_rate=table.number("learning_rate", None, 1e-9, 1),
        weight_decay=table.number("weight_decay", None, 0, 1),
        gradient_norm=table.number("gradient_norm", None, 1e-9, 1e9),
        query_share=table.number("query_share", None, 0.05, 0.9),
        minimum_slots=table.integer("minimum_slots", None, 16, 1 << 20),
        passes=table.integer("passes", None, 1, 100_000),
        largest_norm=table.number("largest_norm", None, 1e-6, 1e6),
        largest_divergence=table.number("largest_divergence", None, 1e-6, 1),
    )


def _execution(table: Table) -> Execution:
    default = ONE_THREAD
    return Execution(
        provider=table.choice("provider", PROVIDERS, default.provider),
        threads=table.integer("threads", default.threads, 1, MOST_THREADS) or default.threads,
        on_missing=table.choice("on_missing", ON_MISSING, default.on_missing),
        cache=table.optional_path("cache"),
    )


def _radio(table: Table, origins: Mapping[str, Origin]) -> RadioConfig:
    kind = table.text("kind", MQTT) or MQTT
    options = table.mapping("options")
    if kind == MQTT and options:
        table.problem("options", f'kind = "{MQTT}" has none; it takes its broker from [broker]')
    folders = {name: origins[f"radio.options.{name}"].folder for name in options}
    return RadioConfig(kind, options, folders)
