"""Training: draw windows, encode, talk, lose messages, take a step; resumes bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from networld_runtime.errors import DataError
from networld_runtime.optimiser import one_cycle
from networld_training.data.windows import WindowSampler
from networld_training.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from networld_training.model.imagination import Imagined
from networld_training.model.judges import make_judge
from networld_training.model.settings import TrainingSettings
from networld_training.model.step_losses import Learner, credit_loss, step_losses
from networld_training.model.world_model import WorldModel
from networld_training.tasks.registry import LEARNING

CHECKPOINT = "checkpoint.safetensors"

Report = Callable[[int, Mapping[str, float]], None]


class Trainer:
    """A training run in a folder.

    Every random draw depends on seed and step alone, so a resumed run equals one that was never stopped.

    Args:
        folder: Where the checkpoint is kept; an existing one is resumed.
        samplers: A window sampler for each task.
        settings: How the model is trained.
        seed: Seed of weights, windows, noise and message loss.
        device: `cpu` or `cuda`.

    Raises:
        DataError: The folder holds a checkpoint of other settings, seed or contracts.
    """

    def __init__(
        self,
        folder: Path,
        samplers: Mapping[str, WindowSampler],
        settings: TrainingSettings,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.path = folder / CHECKPOINT
        self.samplers = samplers
        self.settings = settings
        self.seed = seed
        self.device = device
        self.step = 0
        self.contracts = {name: sampler.contract for name, sampler in samplers.items()}
        torch.manual_seed(seed)
        behaviour = {name: LEARNING[name].behaviour for name in samplers}
        self.model = WorldModel(self.contracts, settings.size, behaviour).to(device)
        judges = {name: _judge(name, sampler, settings) for name, sampler in samplers.items()}
        self.credits = nn.ModuleDict({name: one.credit for name, one in judges.items()}).to(device)
        self.learners = {
            name: Learner(self.model.for_task(name).to(device), one.to(device))
            for name, one in judges.items()
        }
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.parameters = [*self.model.parameters(), *self.credits.parameters()]
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._resume(load_checkpoint(self.path, device))

    def run(self, report: Report, report_every: int = 20, save_every: int = 500) -> None:
        """Train to the end; `report(step, losses)` is called now and then."""
        while self.step < self.settings.all_steps:
            values = self.advance()
            if self.step % report_every == 0 or self.step == self.settings.all_steps:
                report(self.step, {name: value.item() for name, value in values.items()})
            if self.step % save_every == 0 or self.step == self.settings.all_steps:
                self.save()

    def advance(self) -> dict[str, Tensor]:
        """Take one optimiser step over all tasks; return their losses by name, scalars on the device."""
        settings = self.settings
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        first = self.step < settings.credit_steps
        done = self.step if first else self.step - settings.credit_steps
        progress = done / (settings.credit_steps if first else settings.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * max(one_cycle(progress), 1e-3)
        self.optimiser.zero_grad(set_to_none=True)
        self.credits.requires_grad_(first)  # once learned, what slots are worth is only asked
        values: dict[str, Tensor] = {}
        for name, learner in self.learners.items():
            window = (
                self.samplers[name]
                .batch(settings.windows, settings.starts, self.seed, self.step)
                .to(self.device)
            )
            if first:
                loss = credit_loss(learner.imagined.credit, window)
                values[f"{name}/credit"] = loss.detach()
            else:
                losses = step_losses(learner, window, settings, generator)
                loss = losses.total()
                values |= losses.values(name)
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, settings.gradient_norm)
        self.optimiser.step()
        self.step += 1
        if not first:
            self._update_average(done + 1)
        return values

    def save(self) -> None:
        """Write the checkpoint."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"credit.{name}": value for name, value in self.credits.state_dict().items()}
        tensors |= {f"average.{name}": value.clone() for name, value in self.average.items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        save_checkpoint(
            self.path, Checkpoint(self.step, self.seed, self.settings, self.contracts, tensors)
        )

    def _update_average(self, steps: int) -> None:
        """Move the averaged weights; early on the average is short, so that it forgets the start."""
        decay = min(self.settings.average, (1 + steps) / (10 + steps))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)

    def _resume(self, checkpoint: Checkpoint) -> None:
        differences = [
            f"{what} differ from those of the checkpoint; use the same or another folder"
            for what, same in (
                ("settings", checkpoint.settings == self.settings),
                ("contracts", dict(checkpoint.contracts) == self.contracts),
                ("seeds", checkpoint.seed == self.seed),
            )
            if not same
        ]
        if differences:
            raise DataError(str(self.path), differences)
        self.model.load_state_dict(checkpoint.part("model"))
        self.credits.load_state_dict(checkpoint.part("credit"))
        self.average = checkpoint.part("average")
        self.step = checkpoint.step
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in checkpoint.part("optimiser").items():
            index, entry = name.split(".")
            state.setdefault(int(index), {})[entry] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})


def _judge(task: str, sampler: WindowSampler, settings: TrainingSettings) -> Imagined:
    """Return an untrained judge with the scales of the task's logged credits and couplings."""
    judge = make_judge(task, sampler.contract, settings.credit)
    judge.credit.fit(torch.from_numpy(sampler.credits), torch.from_numpy(sampler.couplings))
    return judge
