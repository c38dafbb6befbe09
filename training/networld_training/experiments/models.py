"""The models of an experiment: trained where they are missing, gone on with where they are not finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from networld_training.data.windows import WindowSampler
from networld_training.experiments.adapted_policy import BUNDLE
from networld_training.experiments.plan import Experiment, ModelPlan
from networld_training.model.checkpoint import load_checkpoint
from networld_training.model.trainer import CHECKPOINT, Trainer
from networld_training.progress import reporting


class Workshop:
    """Where models are trained and kept.

    Args:
        experiment: What is needed.
        folder: Where models are kept, each in a folder of its own.
        data: Where the data sets `<task>-mixed` lie.
    """

    def __init__(self, experiment: Experiment, folder: Path, data: Path) -> None:
        self.experiment = experiment
        self.folder = folder
        self._data = data
        self._samplers: dict[tuple[str, int | None], WindowSampler] = {}

    def checkpoint(self, model: str, seed: int) -> Path:
        """Return the file of a model."""
        return self.folder / f"{model}-{seed}" / CHECKPOINT

    def train_all(self) -> None:
        """Train what is not there or not finished.

        Raises:
            DataError: A data set or a checkpoint is missing, damaged or of something else.
        """
        missing = list(self._missing())
        for number, (name, seed) in enumerate(missing, 1):
            self._train(name, seed, f"model {number} of {len(missing)}, {name}-{seed}")

    def distil_all(self, distil: Callable[[Path, list[Path]], None]) -> None:
        """Distil what plans by a distilled denoiser; `distil` takes a checkpoint and its data sets."""
        needed = dict.fromkeys(
            one.model for one in self.experiment.variants if one.planner.needs_distilled
        )
        for seed in self.experiment.training_seeds:
            for name in needed:
                tasks = self.experiment.models[name].tasks
                distil(self.checkpoint(name, seed), [self._folder(task) for task in tasks])

    def export_all(self, export: Callable[[Path, Path], None]) -> None:
        """Export what adapts and has no bundle yet; `export` makes a bundle of a checkpoint."""
        adapt = dict.fromkeys(
            one.model
            for one in self.experiment.variants
            if one.adaptation.episodes and not one.adaptation.whole
        )
        for seed in self.experiment.training_seeds:
            for name in adapt:
                path = self.checkpoint(name, seed)
                bundle = path.with_name(BUNDLE)
                if not bundle.exists() or bundle.stat().st_mtime < path.stat().st_mtime:
                    export(path, bundle)

    def _missing(self) -> Iterator[tuple[str, int]]:
        needed = dict.fromkeys(one.model for one in self.experiment.variants)
        for seed in self.experiment.training_seeds:
            for name in needed:
                path = self.checkpoint(name, seed)
                plan = self.experiment.models[name]
                if not path.exists() or load_checkpoint(path).step < plan.settings.all_steps:
                    yield name, seed

    def _train(self, name: str, seed: int, note: str) -> None:
        plan: ModelPlan = self.experiment.models[name]
        samplers = {task: self._sampler(task, plan.episodes) for task in plan.tasks}
        folder = self.checkpoint(name, seed).parent
        trainer = Trainer(folder, samplers, plan.settings, seed)
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
