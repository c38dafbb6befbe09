"""Path loss, line of sight and shadow fading of 3GPP TR 38.901 for UMi street canyon and UMa."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from networld_runtime.errors import ConfigError
from networld_training.radio.arrays import FloatArray

SPEED_OF_LIGHT_M_S = 299_792_458.0
USER_HEIGHT_M = 1.5
_ENVIRONMENT_HEIGHT_M = 1.0


@dataclass(frozen=True)
class PropagationModel:
    """Constants of one scenario of TR 38.901, tables 7.4.1-1, 7.4.2-1 and 7.5-6, users at 1.5 m.

    A path loss is `constant + slope log10(d3D / m) + carrier_slope log10(fc / GHz)` in dB.

    Attributes:
        base_station_height_m: Height of the antenna.
        minimum_distance_m: Smallest 2-D distance of a user from a site.
        los: Constant, slope and carrier slope before the breakpoint, in line of sight.
        breakpoint_slope_db: Factor of log10(d'BP^2 + (hBS - hUT)^2) that is taken off behind it.
        nlos: Constant, slope and carrier slope without line of sight.
        los_decay_m: Decay length of the line-of-sight probability.
        shadowing_db: Standard deviation of the shadow fading with and without line of sight.
        correlation_m: Its correlation distance with and without line of sight.
    """

    base_station_height_m: float
    minimum_distance_m: float
    los: tuple[float, float, float]
    breakpoint_slope_db: float
    nlos: tuple[float, float, float]
    los_decay_m: float
    shadowing_db: tuple[float, float]
    correlation_m: tuple[float, float]

    def breakpoint_m(self, carrier_hz: float) -> float:
        """Return the breakpoint distance d'BP, from which 40 dB per decade are lost."""
        heights = (self.base_station_height_m - _ENVIRONMENT_HEIGHT_M) * (
            USER_HEIGHT_M - _ENVIRONMENT_HEIGHT_M
        )
        return 4 * heights * carrier_hz / SPEED_OF_LIGHT_M_S


MODELS = {
    "umi": PropagationModel(
        base_station_height_m=10,
        minimum_distance_m=10,
        los=(32.4, 21.0, 20.0),
        breakpoint_slope_db=9.5,
        nlos=(22.4, 35.3, 21.3),
        los_decay_m=36,
        shadowing_db=(4.0, 7.82),
        correlation_m=(10, 13),
    ),
    "uma": PropagationModel(
        base_station_height_m=25,
        minimum_distance_m=35,
        los=(28.0, 22.0, 20.0),
        breakpoint_slope_db=9.0,
        nlos=(13.54, 39.08, 20.0),
        los_decay_m=63,
        shadowing_db=(4.0, 6.0),
        correlation_m=(37, 50),
    ),
}


def propagation_model(name: str) -> PropagationModel:
    """Return the model of this name.

    Raises:
        ConfigError: There is no such model.
    """
    if name not in MODELS:
        raise ConfigError("model", f"{name!r}, expected one of {sorted(MODELS)}")
    return MODELS[name]


def path_loss_db(
    model: str,
    line_of_sight: npt.ArrayLike,
    distance_2d_m: npt.ArrayLike,
    carrier_hz: float,
) -> FloatArray:
    """Return the path loss (TR 38.901 table 7.4.1-1), without shadowing.

    Distances are along the ground; the formulas use the slant distance d3D, which the difference of
    the antenna heights adds. Without line of sight the loss is never below that with it.

    Args:
        model: `umi` or `uma`.
        line_of_sight: Booleans, shape as the distances.
        distance_2d_m: Ground distances, any shape.
        carrier_hz: Carrier frequency.

    Returns:
        Path losses in dB, shape as the distances.
    """
    constants = propagation_model(model)
    distance = np.asarray(distance_2d_m, dtype=np.float64)
    height_m = constants.base_station_height_m - USER_HEIGHT_M
    decades = np.log(distance * distance + height_m * height_m) * (0.5 / np.log(10))
    carrier = np.log10(carrier_hz / 1e9)
    breakpoint_m = constants.breakpoint_m(carrier_hz)

    base, slope, carrier_slope = constants.los
    behind_db = constants.breakpoint_slope_db * np.log10(breakpoint_m**2 + height_m**2)
    before = base + carrier_slope * carrier + slope * decades
    behind = base + carrier_slope * carrier - behind_db + 40 * decades
    with_sight = np.where(distance < breakpoint_m, before, behind)

    base, slope, carrier_slope = constants.nlos
    without_sight = np.maximum(with_sight, base + carrier_slope * carrier + slope * decades)
    return np.asarray(np.where(line_of_sight, with_sight, without_sight))


def line_of_sight_probability(model: str, distance_2d_m: npt.ArrayLike) -> FloatArray:
    """Return the probability of line of sight (TR 38.901 table 7.4.2-1), outdoors at 1.5 m."""
    decay_m = propagation_model(model).los_decay_m
    distance = np.maximum(np.asarray(distance_2d_m, dtype=np.float64), 18.0)
    near = 18.0 / distance
    return np.asarray(near + np.exp(-distance / decay_m) * (1 - near))
