"""From a configuration to the model that it names."""

from __future__ import annotations

from dataclasses import replace

from networld_runtime.adaptation import AdaptationSettings, settings_for
from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.config import Config
from networld_runtime.errors import BundleError
from networld_runtime.planner import Planner
from networld_runtime.planner_settings import PlannerSettings
from networld_runtime.sessions import available_providers


def load_model(config: Config) -> tuple[Bundle, Planner]:
    """Return the checked bundle and its planner with fallbacks, its settings changed by the configuration.

    Raises:
        BundleError: The bundle is missing, damaged or does not fit.
        ConfigError: A planner setting does not fit the bundle, or graphs are to run where they cannot.
    """
    bundle = load_bundle(config.bundle.path, config.cell.task, config.execution)
    try:
        settings = PlannerSettings.from_json({**bundle.planner, **config.planner.changes()})
    except TypeError as error:
        raise BundleError(str(bundle.path), f"planner settings: {error}; export again") from error
    planner = Planner(bundle, settings, config.planner.seed)
    planner.add_fallbacks(bundle)
    return bundle, planner


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
