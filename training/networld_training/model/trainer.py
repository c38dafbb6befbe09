"""Training: draw windows, encode, talk, lose messages, take a step; resumes bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from networld_runtime.errors import DataError
from networld_runtime.levels import HIGHEST_LEVEL, LOWEST_LEVEL
from networld_runtime.optimiser import one_cycle
from networld_training.data.windows import WindowBatch, WindowSampler
from networld_training.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from networld_training.model.components import action_cross_entropy
from networld_training.model.losses import Losses, cross_entropy, denoising_error
from networld_training.model.mean_field import lose_messages, mean_field
from networld_training.model.settings import TrainingSettings
from networld_training.model.world_model import TaskModel, WorldModel
from networld_training.tasks.registry import LEARNING

CHECKPOINT = "checkpoint.safetensors"
RECONSTRUCTION_WEIGHT = 1.0

Report = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class StepLosses:
    """Losses of one task in one step."""

    model: Losses
    reconstruction: Tensor

    def total(self) -> Tensor:
        """Return the sum that is minimised."""
        return self.model.total() + RECONSTRUCTION_WEIGHT * self.reconstruction

    def values(self, task: str) -> dict[str, float]:
        """Return the losses as numbers, named for TensorBoard."""
        return {
            f"{task}/denoising": self.model.denoising.item(),
            f"{task}/inverse": self.model.inverse.item(),
            f"{task}/classifier": self.model.classifier.item(),
            f"{task}/reconstruction": self.reconstruction.item(),
        }


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
        self.tasks = {name: self.model.for_task(name) for name in samplers}
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._resume(load_checkpoint(self.path, device))

    def run(self, report: Report, report_every: int = 20, save_every: int = 500) -> None:
        """Train to the end; `report(step, losses)` is called now and then."""
        while self.step < self.settings.steps:
            values = self.advance()
            if self.step % report_every == 0 or self.step == self.settings.steps:
                report(self.step, {name: value for task in values for name, value in task.items()})
            if self.step % save_every == 0 or self.step == self.settings.steps:
                self.save()

    def advance(self) -> list[dict[str, float]]:
        """Take one optimiser step over all tasks; return their losses."""
        settings = self.settings
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * max(one_cycle(self.step / settings.steps), 1e-3)
        self.optimiser.zero_grad(set_to_none=True)
        values = []
        for name, sampler in self.samplers.items():
            window = sampler.batch(settings.windows, settings.starts, self.seed, self.step)
            step_losses = window_losses(self.tasks[name], window, settings, generator, self.device)
            step_losses.total().backward()  # type: ignore[no-untyped-call]
            values.append(step_losses.values(name))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_norm)
        self.optimiser.step()
        self.step += 1
        self._update_average()
        return values

    def save(self) -> None:
        """Write the checkpoint."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"average.{name}": value.clone() for name, value in self.average.items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
        save_checkpoint(
            self.path, Checkpoint(self.step, self.seed, self.settings, self.contracts, tensors)
        )

    def _update_average(self) -> None:
        """Move the averaged weights; early on the average is short, so that it forgets the start."""
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
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
        self.average = checkpoint.part("average")
        self.step = checkpoint.step
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in checkpoint.part("optimiser").items():
            index, entry = name.split(".")
            state.setdefault(int(index), {})[entry] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})


def window_losses(
    model: TaskModel,
    window: WindowBatch,
    settings: TrainingSettings,
    generator: torch.Generator,
    device: str = "cpu",
) -> StepLosses:
    """Return the losses of one batch of windows: encode all cells, exchange messages, compare.

    The classifier learns from every start; the denoiser, which costs more, from a random few. It sees
    detached latents: its loss must not pull the encoder towards latents that are easy to predict because
    they say nothing.
    """
    observation, action = window.observation.to(device), window.action.to(device)
    returns, neighbours = window.returns.to(device), window.neighbours.to(device)
    horizon, starts = model.contract.horizon, window.starts
    latent = model.encode(observation)
    reconstruction = torch.nn.functional.mse_loss(model.reconstruct(latent), observation)
    read = model.inverse(latent[:, 1:-1], latent[:, 2:])
    inverse = action_cross_entropy(read, action, model.contract.actions).mean()

    sent = latent[:, :starts, :, : model.contract.message_size].flatten(0, 1)
    heard = lose_messages((*sent.shape[:2], neighbours.shape[1]), settings.message_loss, generator)
    field = mean_field(sent, neighbours, heard.to(device)).flatten(0, 1)
    now = latent[:, 1 : starts + 1].flatten(0, 2)
    plan = _ahead(latent[:, 2:], starts, horizon)
    logits = model.classifier(now, field, _ahead(action, starts, horizon))
    classifier = cross_entropy(logits, returns.flatten(0, 2)).mean()

    chosen = torch.randperm(len(now), generator=generator)[: settings.plans].to(device)
    level = LOWEST_LEVEL + (HIGHEST_LEVEL - LOWEST_LEVEL) * torch.rand(
        len(chosen), generator=generator
    )
    target = plan[chosen].detach()
    noise = torch.randn(target.shape, generator=generator).to(device)
    denoising = denoising_error(
        model, now[chosen].detach(), target, field[chosen].detach(), noise, level.to(device)
    ).mean()
    return StepLosses(Losses(denoising, inverse, classifier), reconstruction)


def _ahead(values: Tensor, starts: int, horizon: int) -> Tensor:
    """Cut `[B, slots, K, n]` into what lies ahead of each start, `[B S K, horizon, n]`."""
    cut = values.unfold(1, horizon, 1)[:, :starts]  # b s k n h
    return cut.permute(0, 1, 2, 4, 3).flatten(0, 2)
