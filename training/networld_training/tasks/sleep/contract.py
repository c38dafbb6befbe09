"""Contract and interface of the sleep task: features with their ranges, messages, actions, returns.

Ranges are about the 1 and 99 percentiles over the training family and all heuristics; of rewards the
0.1 and 99.9 ones with a margin, and without the random rules: cells that sleep at random turn so much
traffic away that they would stretch the range threefold. Returns are what a plan gains over the policy, in
typical credits.
"""

from __future__ import annotations

from networld_runtime.contract import ActionBins, Choice, Contract, Feature, ReturnBins
from networld_training.tasks.learning import Holding, Learning, choice_activity
from networld_training.tasks.sleep.modes import ACTIVE, ORDERS, PATIENCE_SLOTS
from networld_training.tasks.spec import Kpi, TaskSpec

LARGEST_OFFSET_DB = 6.0
# What a cell without another one awake shows: nobody could take its users.
LARGEST_GAP_DB = 30.0
LARGEST_LOAD = 1.5
LONGEST_SLOTS = 24

_LOG_DEMAND = "ln(1 + Mbit/s)"

SLEEP_CONTRACT = Contract(
    task="sleep",
    slot_s=10.0,
    features=(
        Feature("load", "share of the slot needed, last slot", 0.0, LARGEST_LOAD),
        Feature("offered", f"{_LOG_DEMAND}, last slot", 0.0, 4.5),
        Feature("served", f"{_LOG_DEMAND}, last slot", 0.0, 4.5),
        Feature("unserved_share", "of offered, last slot", 0.0, 0.5),
        Feature("attached_users", "users", 0.0, 40.0),
        Feature("neighbour_gap", "dB below own, mean of users", 0.0, LARGEST_GAP_DB),
        Feature("spectral_efficiency", "b/s/Hz, mean of users", 0.0, 7.1),
        Feature("handover_load", "share of a slot of other cells", 0.0, LARGEST_LOAD),
        Feature("fostered_load", "share of the slot needed", 0.0, 1.0),
        Feature("active", "flag", 0.0, 1.0),
        Feature("light", "flag", 0.0, 1.0),
        Feature("deep", "flag", 0.0, 1.0),
        Feature("waking", "flag", 0.0, 1.0),
        Feature("slots_in_state", "slots", 0.0, float(LONGEST_SLOTS)),
        Feature("own_demand", f"{_LOG_DEMAND}, when last awake", 0.0, 4.5),
        Feature("offered_2_ago", _LOG_DEMAND, 0.0, 4.5),
        Feature("offered_3_ago", _LOG_DEMAND, 0.0, 4.5),
        Feature("day_sine", "", -1.0, 1.0),
        Feature("day_cosine", "", -1.0, 1.0),
        Feature("cell_individual_offset", "dB", -LARGEST_OFFSET_DB, LARGEST_OFFSET_DB),
        Feature("turn", "flag", 0.0, 1.0),
    ),
    actions=(
        Choice("mode", ORDERS),
        ActionBins("cell_individual_offset_db", -LARGEST_OFFSET_DB, LARGEST_OFFSET_DB, 13),
    ),
    safe_action=(0.0, 0.0),
    reward_low=-80.0,
    reward_high=0.0,
    returns=ReturnBins(-25.0, 10.0, 51),
    discount=0.8,
    latent_size=32,
    message_size=16,
    horizon=7,
)

SLEEP_LEARNING = Learning(
    activity=choice_activity(SLEEP_CONTRACT.actions, 0, (ACTIVE,)),
    floors=(0.01, 0.01),
    behaviour=("cell_individual_offset",),
    holding=Holding(
        states=("active", "light", "deep"),
        turn="turn",
        since="slots_in_state",
        patience_slots=PATIENCE_SLOTS,
    ),
    adaptation_rate=1e-4,
    plan_temperature=1.6,
)

SLEEP_SPEC = TaskSpec(
    name=SLEEP_CONTRACT.task,
    slot_s=SLEEP_CONTRACT.slot_s,
    features=SLEEP_CONTRACT.features,
    message=(
        Feature("load", "share of the slot needed", 0.0, LARGEST_LOAD),
        Feature("unserved_share", "of offered", 0.0, 0.5),
        Feature("handover_load", "share of a slot of other cells", 0.0, LARGEST_LOAD),
        Feature("fostered_load", "share of the slot needed", 0.0, 1.0),
        Feature("cell_individual_offset", "dB", -LARGEST_OFFSET_DB, LARGEST_OFFSET_DB),
        Feature("awake", "flag", 0.0, 1.0),
    ),
    actions=SLEEP_CONTRACT.actions,
    kpis=(
        Kpi("mean_utility", "reference power"),
        Kpi("power", "relative power per cell", higher_is_better=False),
        Kpi("unserved_share", "of offered traffic", higher_is_better=False),
        Kpi("switches_per_hour", "per cell", higher_is_better=False),
        Kpi("energy_per_mbit", "relative power times seconds", higher_is_better=False),
    ),
    expert="greedy",
)
"""What the sleep task offers; a cell that does not serve tells only that it is not awake."""
