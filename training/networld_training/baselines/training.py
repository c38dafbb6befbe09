"""Training an offline method: steps, early stopping, a file to resume from, and the policy at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from networld_runtime.errors import DataError
from networld_training.baselines.methods import find_method
from networld_training.baselines.policy_file import Origin, SavedPolicy, write_policy
from networld_training.baselines.run_file import resume_run, run_path, save_run
from networld_training.baselines.trajectories import LoggedData

SAVE_EVERY = 1000
REPORT_EVERY = 50

Report = Callable[[int, str], None]


class OfflineTraining:
    """A run that can be interrupted: every draw depends on seed and step alone.

    Args:
        path: File of the policy; beside it the run is kept, as `<file>.run`, until it is done.
        method: Name of an offline method.
        data: What is learned from.
        settings: Hyper-parameters of the method.
        seed: Seed of weights and samples.

    Raises:
        DataError: The run beside the file is another one, or damaged.
    """

    def __init__(
        self, path: Path, method: str, data: LoggedData, settings: Any, seed: int = 0
    ) -> None:
        make = find_method(method).learner
        if make is None:
            raise DataError(method, "learns in the simulator, not from a data set")
        self.path = path
        self.settings, self.seed, self.data = settings, seed, data
        torch.manual_seed(seed)
        self.learner = make(data, settings)
        self.origin = origin_of(method, data, settings, seed)
        self.step, self.best_step, self.best_loss = 0, 0, float("inf")
        self.best: dict[str, Tensor] = {}
        found = resume_run(path, self.origin, self.learner, self.learner.optimisers)
        if found is not None:
            progress, self.best = found
            self.step, self.best_step = progress["step"], progress["best_step"]
            self.best_loss = progress["best_loss"]

    @property
    def stopped(self) -> bool:
        """Whether all steps are done, or the held-out loss has not fallen for long."""
        patience = getattr(self.settings, "patience", None)
        waited = (self.step - self.best_step) // self.settings.validate_every
        return self.step >= self.settings.steps or (patience is not None and waited >= patience)

    def run(self, report: Report) -> SavedPolicy:
        """Train to the end and write the policy; `report` gets the steps done and a note."""
        losses: Mapping[str, float] = {}
        while not self.stopped:
            losses = self.advance()
            last = self.stopped
            if self.step % REPORT_EVERY == 0 or last:
                report(self.step, self._note(losses))
            if self.step % SAVE_EVERY == 0 and not last:
                self.save()
        policy = SavedPolicy(
            self.origin,
            self.best_step if self.best else self.step,
            self.data.steps,
            self.best or _copied(self.learner.actor.state_dict()),
        )
        write_policy(self.path, policy)
        run_path(self.path).unlink(missing_ok=True)
        return policy

    def advance(self) -> Mapping[str, float]:
        """Take one step and, now and then, look at the held-out episodes; return the losses."""
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        losses = self.learner.advance(random)
        self.step += 1
        if self.step % self.settings.validate_every == 0 or self.step == self.settings.steps:
            loss = self.learner.held_out_loss()
            if loss is not None and loss < self.best_loss:
                self.best_loss, self.best_step = loss, self.step
                self.best = _copied(self.learner.actor.state_dict())
        return losses

    def save(self) -> None:
        """Write the run, to be resumed."""
        progress = {"step": self.step, "best_step": self.best_step, "best_loss": self.best_loss}
        save_run(self.path, self.origin, self.learner, self.learner.optimisers, progress, self.best)

    def _note(self, losses: Mapping[str, float]) -> str:
        note = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        return f"{note} held-out {self.best_loss:.3f}" if self.best else note


def origin_of(method: str, data: LoggedData, settings: Any, seed: int) -> Origin:
    """Return what a policy of these arguments is learned from."""
    manifest = data.manifest
    return Origin(
        method=method,
        task=manifest.task,
        spec_sha256=manifest.spec.digest(),
        settings=asdict(settings),
        seed=seed,
        source=f"{manifest.dataset_id} in {manifest.scenario}",
        source_sha256=data.sha256,
        cells=int(manifest.shards[0].network["cells"]),
    )


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: one.clone() for name, one in state.items()}
