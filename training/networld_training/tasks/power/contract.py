"""Contract and interface of the power task: features with their ranges, messages, action, returns.

Ranges are about the 1 and 99 percentiles, for rewards the 0.1 and 99.9 ones with a margin, over the
scenarios of 4 and 8 users per cell and all heuristics but `random`. Returns are what a plan gains over
the policy, in typical credits.
"""

from __future__ import annotations

from networld_runtime.contract import ActionBins, Contract, Feature, ReturnBins
from networld_training.tasks.learning import Learning, bin_activity
from networld_training.tasks.spec import Kpi, TaskSpec

LOWEST_POWER_DB = -30.0
OFF_DB = -40.0
SHOWN_OFF_DB = -31.0
HISTORY = 3
STRONGEST = 3
# A power below a tenth of the noise is beyond what a receiver can tell from none.
FLOOR_DB = -10.0

_PRESENT = (
    Feature("direct_gain", "dB over noise at full power", 5.0, 70.0),
    Feature("interference", "dB over noise, last slot", 0.0, 55.0),
    Feature("log_weight", "-ln(b/s/Hz)", -1.5, 3.5),
    Feature("leakage", "dB over noise at full power", 0.0, 60.0),
    Feature("leakage_strongest_1", "dB over noise at full power", 0.0, 60.0),
    Feature("leakage_strongest_2", "dB over noise at full power", -5.0, 55.0),
    Feature("leakage_strongest_3", "dB over noise at full power", FLOOR_DB, 50.0),
    Feature("margin_1", "dB below serving", -5.0, 40.0),
    Feature("margin_2", "dB below serving", 0.0, 45.0),
    Feature("margin_3", "dB below serving", 0.0, 50.0),
    Feature("attached_users", "users", 0.0, 12.0),
    Feature("active", "flag", 0.0, 1.0),
    Feature("incoming", "dB over noise at full power", 0.0, 60.0),
    Feature("incoming_strongest_1", "dB over noise at full power", 0.0, 60.0),
    Feature("incoming_strongest_2", "dB over noise at full power", -5.0, 55.0),
    Feature("incoming_strongest_3", "dB over noise at full power", FLOOR_DB, 50.0),
)


def _past(slots_ago: int) -> tuple[Feature, ...]:
    return (
        Feature(f"power_{slots_ago}_ago", "dB of full power, -31 is off", SHOWN_OFF_DB, 0.0),
        Feature(f"off_{slots_ago}_ago", "flag", 0.0, 1.0),
        Feature(f"spectral_efficiency_{slots_ago}_ago", "b/s/Hz", 0.0, 7.1),
        Feature(f"interference_{slots_ago}_ago", "dB over noise", 0.0, 55.0),
    )


POWER_ACTION = ActionBins("power_db", LOWEST_POWER_DB, 0.0, 31, off=OFF_DB)

POWER_CONTRACT = Contract(
    task="power",
    slot_s=0.02,
    features=_PRESENT + tuple(f for ago in range(1, HISTORY + 1) for f in _past(ago)),
    actions=(POWER_ACTION,),
    safe_action=(LOWEST_POWER_DB / 2,),
    reward_low=-1.1,
    reward_high=15.0,
    returns=ReturnBins(-10.0, 5.0, 51),
    discount=0.25,
    latent_size=32,
    message_size=16,
    horizon=7,
)

POWER_LEARNING = Learning(
    activity=bin_activity(POWER_ACTION),
    floors=(1.0,),
    behaviour=(
        "interference",
        *(feature.name for feature in POWER_CONTRACT.features if feature.name.endswith("_ago")),
    ),
    adaptation_steps=600,
    adaptation_rate=1e-3,
    plan_temperature=0.4,
)

POWER_SPEC = TaskSpec(
    name=POWER_CONTRACT.task,
    slot_s=POWER_CONTRACT.slot_s,
    features=POWER_CONTRACT.features,
    message=(
        Feature("log_price", "ln of weighted rate per unit of interference over noise", -16.0, 4.0),
        Feature("log_weight", "-ln(b/s/Hz)", -1.5, 5.0),
        Feature("power", "dB of full power, -31 is off, last slot", SHOWN_OFF_DB, 0.0),
        Feature("interference", "dB over noise, last slot", 0.0, 60.0),
        Feature("active", "flag", 0.0, 1.0),
    ),
    actions=POWER_CONTRACT.actions,
    kpis=(
        Kpi("mean_log_rate", "ln(b/s/Hz)"),
        Kpi("user_rate_p5", "b/s/Hz"),
        Kpi("cell_spectral_efficiency", "b/s/Hz"),
        Kpi("jain", ""),
    ),
    expert="wmmse-pf",
)
"""What the power task offers; a cell without users tells neither price, weight nor interference."""
