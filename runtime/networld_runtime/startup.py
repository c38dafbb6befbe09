"""From a configuration to the model that it names."""

from __future__ import annotations

from networld_runtime.adaptation import AdaptationSettings, settings_for
from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.config import Config
from networld_runtime.errors import BundleError
from networld_runtime.planner import Planner
from networld_runtime.planner_settings import PlannerSettings


def load_model(config: Config) -> tuple[Bundle, Planner]:
    """Return the checked bundle and its planner, the bundle's settings changed by the configuration.

    Raises:
        BundleError: The bundle is missing, damaged or does not fit.
        ConfigError: A planner setting does not fit the bundle.
    """
    bundle = load_bundle(config.bundle.path, config.cell.task)
    try:
        settings = PlannerSettings.from_json({**bundle.planner, **config.planner.changes()})
    except TypeError as error:
        raise BundleError(str(bundle.path), f"planner settings: {error}; export again") from error
    return bundle, Planner(bundle, settings, config.planner.seed)


def adaptation_settings(config: Config, bundle: Bundle) -> AdaptationSettings:
    """Return the bundle's settings of adaptation, changed by the configuration.

    Raises:
        BundleError: The bundle recommends something that is no setting.
        ConfigError: A value is out of range.
    """
    return settings_for(bundle, config.adaptation.changes())
