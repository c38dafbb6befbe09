"""The models of an experiment: trained where they are missing, gone on with where they are not finished."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from networld_training.data.windows import WindowSampler
from networld_training.experiments.adapted_policy import BUNDLE
from networld_training.experiments.plan import Experiment, ModelPlan
from networld_training.model.checkpoint import load_checkpoint
from networld_training.model.trainer import CHECKPOINT, Trainer
from networld_training.progress import reporting

Made = tuple[str, int]
"""Name and training seed of a model."""


class Workshop:
    """Where models are trained and kept.

    Args:
        experiment: What is needed.
        folder: Where models are kept, each in a folder of its own.
        data: Where the data sets `<task>-mixed` lie.
        device: Where models are trained, `cpu` or `cuda`.
    """

    def __init__(
        self, experiment: Experiment, folder: Path, data: Path, device: str = "cpu"
    ) -> None:
        self.experiment = experiment
        self.folder = folder
        self._data = data
        self._device = device
        self._samplers: dict[tuple[str, int | None], WindowSampler] = {}

    def checkpoint(self, model: str, seed: int) -> Path:
        """Return the file of a model."""
        return self.folder / f"{model}-{seed}" / CHECKPOINT

    def train(self, needed: Collection[Made]) -> None:
        """Train what is not there or not finished.

        Args:
            needed: Names and training seeds of models.

        Raises:
            DataError: A data set or a checkpoint is missing, damaged or of something else.
        """
        missing = [one for one in needed if not self._finished(*one)]
        for number, (name, seed) in enumerate(missing, 1):
            self._train(name, seed, f"model {number} of {len(missing)}, {name}-{seed}")

    def distil(self, needed: Collection[Made], distil: Callable[[Path, list[Path]], None]) -> None:
        """Distil what plans by a distilled denoiser; `distil` takes a checkpoint and its data sets."""
        planning = {one.model for one in self.experiment.variants if one.planner.needs_distilled}
        for name, seed in needed:
            if name in planning:
                tasks = self.experiment.models[name].tasks
                distil(self.checkpoint(name, seed), [self._folder(task) for task in tasks])

    def export(self, needed: Collection[Made], export: Callable[[Path, Path], None]) -> None:
        """Export what adapts and has no bundle yet; `export` makes a bundle of a checkpoint."""
        adapting = {
            one.model
            for one in self.experiment.variants
            if one.adaptation.episodes and not one.adaptation.whole
        }
        for name, seed in needed:
            path = self.checkpoint(name, seed)
            bundle = path.with_name(BUNDLE)
            old = not bundle.exists() or bundle.stat().st_mtime < path.stat().st_mtime
            if name in adapting and old:
                export(path, bundle)

    def _finished(self, name: str, seed: int) -> bool:
        path, settings = self.checkpoint(name, seed), self.experiment.models[name].settings
        return path.exists() and load_checkpoint(path).step >= settings.all_steps

    def _train(self, name: str, seed: int, note: str) -> None:
        plan: ModelPlan = self.experiment.models[name]
        samplers = {task: self._sampler(task, plan.episodes) for task in plan.tasks}
        folder = self.checkpoint(name, seed).parent
        trainer = Trainer(folder, samplers, plan.settings, seed, self._device)
        with reporting(note, plan.settings.all_steps, trainer.step) as progress:
            trainer.run(lambda step, _: progress.update(step))

    def _sampler(self, task: str, episodes: int | None) -> WindowSampler:
        """Return the sampler of so many episodes of a task; it is read once."""
        if (task, episodes) not in self._samplers:
            self._samplers[task, episodes] = WindowSampler(self._folder(task), episodes)
        return self._samplers[task, episodes]

    def _folder(self, task: str) -> Path:
        """Return the folder of a task's data set."""
        return self._data / f"{task}-mixed"
