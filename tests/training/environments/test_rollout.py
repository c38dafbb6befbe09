"""The rollout: every slot reported once, in order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from networld_training.environments.rollout import Transition, run_policy
from networld_training.tasks.power import PowerNetwork, PowerTask
from networld_training.tasks.power.heuristics import POWER_HEURISTICS


def test_every_slot_is_recorded() -> None:
    task = PowerTask(PowerNetwork(warm_up_slots=3, slots=5), [1, 2])
    transitions: list[Transition] = []
    progress: list[tuple[int, int]] = []
    metrics = run_policy(
        task,
        POWER_HEURISTICS["random"](),
        progress=lambda slot, slots: progress.append((slot, slots)),
        record=transitions.append,
    )
    assert progress == [(slot, 5) for slot in range(1, 6)]
    assert [t.outcome.done for t in transitions] == [False] * 4 + [True]
    for earlier, later in pairwise(transitions):
        assert (earlier.outcome.observation == later.observation).all()
    assert all(t.action.dtype == np.float32 for t in transitions)
    served = sum(t.outcome.details["spectral_efficiency"].sum(axis=-1) for t in transitions)
    assert np.allclose(metrics["cell_spectral_efficiency"], np.asarray(served) / 5 / 7)
