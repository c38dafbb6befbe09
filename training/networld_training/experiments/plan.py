"""An experiment's file: what is trained, what is compared, where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import tomllib

from networld_runtime.bundle import graphs_digest
from networld_runtime.errors import ConfigError
from networld_runtime.planner_settings import PlannerSettings
from networld_training.evaluation.conditions import Conditions
from networld_training.experiments.adapted_policy import Adaptation
from networld_training.model.checkpoint import FORMAT
from networld_training.model.settings import PRESETS, TrainingSettings
from networld_training.tasks.registry import find_contract, find_scenario, planner_in
from networld_training.tasks.scenario import Scenario

T = TypeVar("T")


@dataclass(frozen=True)
class ModelPlan:
    """A model of an experiment: trained once for each training seed, or a bundle that is there.

    Attributes:
        tasks: What it learns.
        settings: How it is trained.
        episodes: Episodes of each task's data set that it learns from; None takes all.
        bundle: Folder of the bundle that acts as it is, whatever the training seed; None trains.
    """

    tasks: tuple[str, ...]
    settings: TrainingSettings
    episodes: int | None = None
    bundle: Path | None = None

    def origin(self, seed: int) -> dict[str, Any]:
        """Return what a model of a training seed is made from, as JSON data.

        Raises:
            BundleError: The bundle's manifest cannot be read.
        """
        if self.bundle is not None:
            return {"bundle": graphs_digest(self.bundle)}
        return {
            "tasks": list(self.tasks),
            "episodes": self.episodes,
            "settings": asdict(self.settings),
            "checkpoint_format": FORMAT,
            "seed": seed,
        }


@dataclass(frozen=True)
class Variant:
    """A way of acting.

    Attributes:
        name: Name in tables.
        model: Name of the model, a key of the experiment's models; empty for a learned baseline.
        planner: How actions are chosen, but for the temperature.
        messages: How messages arrive.
        adaptation: What it adapts to before it is judged, in mode `policy`, with all messages.
        baseline: Name of the learned baseline that acts instead of a model; empty if none does.
        temperature: Of the noise that plans start from; None takes each task's own.
    """

    name: str
    model: str
    planner: PlannerSettings
    messages: Conditions
    adaptation: Adaptation
    baseline: str = ""
    temperature: float | None = None

    def planner_in(self, task: str) -> PlannerSettings:
        """Return how actions are chosen in a task."""
        if self.planner.mode == "policy":
            return self.planner
        return planner_in(task, self.planner, self.temperature)


@dataclass(frozen=True)
class Experiment:
    """Variants side by side on the same episodes.

    Attributes:
        name: Name of the file.
        title: What is asked.
        scenarios: Where.
        episodes: Episodes in each scenario, for each training seed.
        training_seeds: Seeds of the models.
        models: Models by name.
        variants: The first one is what the others are compared with.
    """

    name: str
    title: str
    scenarios: tuple[Scenario, ...]
    episodes: int
    training_seeds: tuple[int, ...]
    models: Mapping[str, ModelPlan] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()


KEYS = {"title", "scenarios", "episodes", "training_seeds", "model", "variant"}


def read_experiment(path: Path) -> Experiment:
    """Read an experiment's TOML file.

    Raises:
        ConfigError: It is missing or no TOML, or keys or values are wrong; lists every problem.
    """
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"no TOML: {error}") from error
    problems = [f"{key}: unknown; known: {', '.join(sorted(KEYS))}" for key in data.keys() - KEYS]
    problems += [f"{key}: missing" for key in sorted(KEYS - data.keys())]
    if problems:
        raise ConfigError(str(path), problems)

    def attempt(place: str, build: Callable[[], T]) -> T | None:
        try:
            return build()
        except ConfigError as error:
            problems.extend(f"{place}: {error.subject}: {line}" for line in error.problems)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            problems.append(f"{place}: {error}")
        return None

    scenarios = [attempt("scenarios", partial(find_scenario, text)) for text in data["scenarios"]]
    models = {
        name: attempt(f"model.{name}", partial(_model, table, path.parent))
        for name, table in data["model"].items()
    }
    variants = [
        attempt(f"variant {index}", partial(_variant, table, models))
        for index, table in enumerate(data["variant"], 1)
    ]
    for name in ("episodes", "training_seeds"):
        values = data[name] if isinstance(data[name], list) else [data[name]]
        lowest = 1 if name == "episodes" else 0
        if not values or not all(type(one) is int and one >= lowest for one in values):
            problems.append(f"{name} = {data[name]!r}: expected whole numbers from {lowest}")
    names = [one.name for one in variants if one]
    problems += [f"variant {name!r}: named twice" for name in names if names.count(name) > 1]
    if problems:
        raise ConfigError(str(path), list(dict.fromkeys(problems)))
    return Experiment(
        name=path.stem,
        title=str(data["title"]),
        scenarios=tuple(one for one in scenarios if one),
        episodes=data["episodes"],
        training_seeds=tuple(data["training_seeds"]),
        models={name: one for name, one in models.items() if one},
        variants=tuple(one for one in variants if one),
    )


def first_seeds(experiment: Experiment, count: int | None) -> Experiment:
    """Return an experiment with its first training seeds alone; None takes all.

    Raises:
        ConfigError: It has not so many.
    """
    there = len(experiment.training_seeds)
    if count is None:
        return experiment
    if not 1 <= count <= there:
        raise ConfigError(
            "--training-seeds", f"{count}: expected 1 to {there}, as the file has them"
        )
    return replace(experiment, training_seeds=experiment.training_seeds[:count])


def _model(table: Mapping[str, Any], folder: Path) -> ModelPlan:
    values = dict(table)
    tasks = tuple(values.pop("tasks"))
    for task in tasks:
        find_contract(task)
    if "bundle" in values:
        if values.keys() != {"bundle"}:
            raise ValueError("bundle: only together with tasks, since nothing is trained")
        return ModelPlan(tasks, PRESETS["default"], bundle=folder / values["bundle"])
    episodes = values.pop("episodes", None)
    if episodes is not None and not (type(episodes) is int and episodes >= 1):
        raise ValueError(f"episodes = {episodes!r}: expected a whole number from 1")
    preset = PRESETS[values.pop("preset", "default")]
    nested = {
        name: replace(getattr(preset, name), **values.pop(name))
        for name in ("size", "credit")
        if name in values
    }
    return ModelPlan(tasks, replace(preset, **values, **nested), episodes)


def _variant(table: Mapping[str, Any], models: Mapping[str, object]) -> Variant:
    unknown = table.keys() - ({one.name for one in fields(Variant)} - {"temperature"})
    if unknown:
        raise KeyError(f"unknown keys {', '.join(sorted(unknown))}")
    baseline = str(table.get("baseline", ""))
    if baseline and table.keys() - {"name", "baseline"}:
        raise ValueError("baseline: only together with a name")
    if not baseline and table["model"] not in models:
        raise KeyError(f"model {table['model']!r} is none of {', '.join(models)}")
    model = models.get(table.get("model", ""))
    adapts = "adaptation" in table
    if isinstance(model, ModelPlan) and model.bundle is not None and adapts:
        raise ValueError("a bundle acts without adaptation")
    adaptation = Adaptation(**table.get("adaptation", {}))
    if adaptation.episodes and {"planner", "messages"} & table.keys():
        raise ValueError("adaptation: not together with planner or messages")
    return Variant(
        name=table["name"],
        model=table.get("model", ""),
        planner=PlannerSettings(**table.get("planner", {"mode": "policy"})),
        messages=Conditions(**table.get("messages", {})),
        adaptation=adaptation,
        baseline=baseline,
        temperature=table.get("planner", {}).get("temperature"),
    )
