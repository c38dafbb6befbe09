"""From a configuration to the model that it names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from networld_runtime.adaptation import AdaptationSettings, settings_for
from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.config import Config
from networld_runtime.errors import BundleError, ConfigError
from networld_runtime.planner import Planner
from networld_runtime.planner_settings import PlannerSettings
from networld_runtime.sessions import available_providers
from networld_runtime.store import activation
from networld_runtime.store.folder import Store
from networld_runtime.store.signature import trusted_keys


@dataclass(frozen=True)
class KeyedStore:
    """The store of a configuration.

    Attributes:
        store: The store.
        keys: The keys that its bundles must be signed with, by file name.
    """

    store: Store
    keys: dict[str, bytes]


def load_model(config: Config) -> tuple[Bundle, Planner]:
    """Return the checked bundle and its planner with fallbacks, its settings changed by the configuration.

    Raises:
        BundleError: The bundle is missing, damaged, not signed by a trusted key or does not fit.
        ConfigError: A planner setting does not fit the bundle, or a trusted key is none.
    """
    if config.bundle.path is not None:
        return build_model(config, config.bundle.path)
    keyed = open_store(config)
    return activation.load(
        keyed.store, active_digest(keyed.store), keyed.keys, lambda path: build_model(config, path)
    )


def start_model(config: Config) -> tuple[Bundle, Planner]:
    """Do as `load_model` does for a cell that starts: of a store, the start is counted.

    One that does not load, or whose starts end badly on probation, is taken back: see `activation.start`.

    Raises:
        BundleError: As for `load_model`.
        ConfigError: As for `load_model`.
    """
    if config.bundle.path is not None:
        return load_model(config)
    keyed = open_store(config)
    return activation.start(keyed.store, keyed.keys, lambda path: build_model(config, path))


def forgive_start(config: Config) -> None:
    """Do not count this start against the bundle: what ends it is no fault of its own."""
    if config.bundle.store is not None:
        activation.forgive_start(Store(config.bundle.store))


def active_bundle(config: Config) -> Bundle:
    """Return the checked bundle that a configuration names, without its planner.

    Raises:
        BundleError: The bundle is missing, damaged or not signed by a trusted key.
        ConfigError: A trusted key is none.
    """
    task = config.cell.task
    if config.bundle.path is not None:
        return load_bundle(config.bundle.path, task)
    keyed = open_store(config)
    digest = active_digest(keyed.store)
    (bundle,) = activation.load(
        keyed.store, digest, keyed.keys, lambda path: (load_bundle(path, task),)
    )
    return bundle


def build_model(config: Config, folder: Path) -> tuple[Bundle, Planner]:
    """Return the checked bundle of a folder and its planner, changed by the configuration.

    Raises:
        BundleError: The bundle is missing, damaged or does not fit.
        ConfigError: A planner setting does not fit the bundle, or graphs are to run where they cannot.
    """
    bundle = load_bundle(folder, config.cell.task, config.execution)
    try:
        settings = PlannerSettings.from_json({**bundle.planner, **config.planner.changes()})
    except TypeError as error:
        raise BundleError(str(bundle.path), f"planner settings: {error}; export again") from error
    planner = Planner(bundle, settings, config.planner.seed)
    planner.add_fallbacks(bundle)
    return bundle, planner


def open_store(config: Config) -> KeyedStore:
    """Return the store of a configuration and its trusted keys.

    Raises:
        ConfigError: The configuration names no store, or a trusted key is none.
    """
    if config.bundle.store is None or config.bundle.trusted_keys is None:
        raise ConfigError(
            str(config.path), "bundle.store: missing; name a store and trusted_keys in [bundle]"
        )
    return KeyedStore(Store(config.bundle.store), trusted_keys(config.bundle.trusted_keys))


def active_digest(store: Store) -> str:
    """Return the digest of the bundle in use.

    Raises:
        BundleError: There is none, or the store is damaged.
    """
    digest = store.record().current
    if digest is None:
        raise BundleError(str(store.path), activation.NONE_ACTIVE)
    return digest


def adaptation_settings(config: Config, bundle: Bundle) -> AdaptationSettings:
    """Return the bundle's settings of adaptation, changed by the configuration.

    Raises:
        BundleError: The bundle recommends something that is no setting.
        ConfigError: A value is out of range.
    """
    return settings_for(bundle, config.adaptation.changes())


def as_this_computer_can(config: Config) -> Config:
    """Return a configuration that computes on the processor where its provider is not here.

    A file may be checked on another computer than the one it is for. Whether the provider opens is found out
    by `run`, on the board.
    """
    if provider_note(config) is None:
        return config
    return replace(config, execution=replace(config.execution, provider="cpu"))


def provider_note(config: Config) -> str | None:
    """Return what to know where this computer lacks the provider that a configuration asks for."""
    wanted, here = config.execution.provider, available_providers()
    if wanted == "auto" or wanted in here:
        return None
    outcome = "would end" if config.execution.on_missing == "fail" else "would go on with cpu"
    return (
        f'execution.provider = "{wanted}": ONNX Runtime on this computer has {", ".join(here)} only, so all '
        f"was checked on cpu; `run` {outcome} here (execution.on_missing)"
    )
