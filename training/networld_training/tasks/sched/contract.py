"""Contract and interface of the scheduling task: features with their ranges, messages, action, returns.

Ranges are about the 1 and 99 percentiles over the scenarios of 4 and 8 users per cell and all
heuristics but `random`; of rewards the 0.1 one with a margin, over the training family, and zero, which
none exceeds. Returns are what a plan gains over the policy, in typical credits.
"""

from __future__ import annotations

from networld_runtime.contract import Choice, Contract, Feature, ReturnBins
from networld_training.tasks.learning import Learning, choice_activity
from networld_training.tasks.spec import Kpi, TaskSpec

LISTED = 8
MUTE = LISTED
STRONGEST = 3
MEGABIT = 1e6
# A power below a tenth of the noise is beyond what a receiver can tell from none.
FLOOR_DB = -10.0
# Below it a user counts as unserved: keeps logarithms and priorities finite.
LOWEST_RATE = 1e-2


def _user(number: int) -> tuple[Feature, ...]:
    return (
        Feature(f"queue_{number}", "ln(1 + Mbit)", 0.0, 2.4),
        Feature(f"age_{number}", "ln(1 + slots)", 0.0, 4.7),
        Feature(f"rate_{number}", "b/s/Hz", 0.0, 7.1),
        Feature(f"log_average_rate_{number}", "ln(b/s/Hz)", -4.6, 0.6),
    )


SCHED_CONTRACT = Contract(
    task="sched",
    slot_s=0.01,
    features=(
        *(feature for number in range(1, LISTED + 1) for feature in _user(number)),
        Feature("attached_users", "users", 0.0, 15.0),
        Feature("waiting_users", "users", 0.0, 8.0),
        Feature("cell_queue", "ln(1 + Mbit)", 0.0, 4.0),
        Feature("direct_gain", "dB over noise at full power", 10.0, 70.0),
        Feature("interference", "dB over noise, last slot", 0.0, 55.0),
        Feature("leakage", "dB over noise at full power", 5.0, 55.0),
        Feature("leakage_strongest_1", "dB over noise at full power", 5.0, 55.0),
        Feature("leakage_strongest_2", "dB over noise at full power", -5.0, 50.0),
        Feature("leakage_strongest_3", "dB over noise at full power", FLOOR_DB, 45.0),
        Feature("incoming", "dB over noise at full power", 10.0, 60.0),
        Feature("incoming_strongest_1", "dB over noise at full power", 5.0, 55.0),
        Feature("incoming_strongest_2", "dB over noise at full power", 0.0, 50.0),
        Feature("incoming_strongest_3", "dB over noise at full power", -5.0, 45.0),
        Feature("transmitted_1_ago", "flag", 0.0, 1.0),
        Feature("spectral_efficiency_1_ago", "b/s/Hz", 0.0, 7.1),
    ),
    actions=(Choice("user", (*(f"user {n}" for n in range(1, LISTED + 1)), "mute"), masked=True),),
    safe_action=(float(MUTE),),
    reward_low=-5.5,
    reward_high=0.0,
    returns=ReturnBins(-15.0, 5.0, 51),
    discount=0.9,
    latent_size=32,
    message_size=16,
    horizon=7,
)

SCHED_LEARNING = Learning(
    activity=choice_activity(SCHED_CONTRACT.actions, 0, range(LISTED)),
    floors=(1.0,),
    behaviour=("interference", "transmitted_1_ago", "spectral_efficiency_1_ago"),
    plan_temperature=0.6,
)

SCHED_SPEC = TaskSpec(
    name=SCHED_CONTRACT.task,
    slot_s=SCHED_CONTRACT.slot_s,
    features=SCHED_CONTRACT.features,
    message=(
        Feature("queue", "ln(1 + Mbit), first user", 0.0, 2.4),
        Feature("direct_gain", "dB over noise at full power, first user", 5.0, 75.0),
        Feature("incoming", "dB over noise at full power, first user", 5.0, 65.0),
        Feature("cell_queue", "ln(1 + Mbit)", 0.0, 4.0),
        Feature("transmitted", "flag, last slot", 0.0, 1.0),
    ),
    actions=SCHED_CONTRACT.actions,
    kpis=(
        Kpi("mean_delay_s", "s", higher_is_better=False),
        Kpi("delay_p95_s", "s", higher_is_better=False),
        Kpi("dropped_share", "", higher_is_better=False),
        Kpi("served_mbit_s", "Mbit/s per cell"),
        Kpi("file_delay_s", "s", higher_is_better=False),
    ),
    expert="coordinated",
)
"""What the scheduling task offers; a cell without backlog tells nothing of a first user."""
