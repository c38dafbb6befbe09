"""IPPO, MAPPO and QMIX through BenchMARL, which `networld-training[baselines]` installs.

Rewards are standardised by those of the task's random rule. The actor is exported as plain perceptrons, so
that whoever judges it needs no BenchMARL.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarl.experiment import Callback
from torch import Tensor
from torchrl.modules import MultiAgentMLP

from networld_runtime.errors import ConfigError
from networld_runtime.files import write_atomically
from networld_training.baselines.methods import find_method
from networld_training.baselines.online_experiment import make_experiment, quiet
from networld_training.baselines.online_settings import (
    VALIDATION_EPISODES,
    VALIDATION_SEED,
    CellPerceptron,
    OnlineSettings,
    make_actor,
)
from networld_training.baselines.policy import BaselinePolicy
from networld_training.baselines.policy_file import Origin, SavedPolicy, write_policy
from networld_training.baselines.run_file import resume_run, run_path, save_run
from networld_training.environments.benchmarl_task import NetworkTaskClass
from networld_training.environments.rollout import run_policy
from networld_training.environments.torchrl_env import GROUP
from networld_training.tasks.registry import find_task
from networld_training.tasks.scenario import Scenario

SAVE_EVERY = 5
"""Iterations after which a run is kept."""
VALIDATIONS = 10
"""Times that the policy is judged while it learns."""

Report = Callable[[int, str], None]


def origin_of(method: str, scenario: Scenario, settings: OnlineSettings, seed: int) -> Origin:
    """Return what a policy of these arguments is learned from."""
    return Origin(
        method=method,
        task=scenario.task,
        spec_sha256=find_task(scenario.task).spec.digest(),
        settings=asdict(settings),
        seed=seed,
        source=scenario.id,
        source_sha256=scenario.digest(),
        cells=scenario.networks[0].cells,
    )


class OnlineTraining:
    """A run of an online method.

    Args:
        path: File of the policy. The learning curve goes beside it, as CSV, and so does the run until it
            is done, as `<file>.run`; an existing one is resumed, QMIX's with an empty replay buffer.
        method: `ippo`, `mappo` or `qmix`.
        scenario: Where it plays; its networks take turns.
        settings: Hyper-parameters.
        seed: Seed of weights, actions and episodes.

    Raises:
        DataError: The run beside the file is another one, or damaged.
    """

    def __init__(
        self, path: Path, method: str, scenario: Scenario, settings: OnlineSettings, seed: int = 0
    ) -> None:
        self.path, self.method, self.scenario, self.settings = path, method, scenario, settings
        self.origin = origin_of(method, scenario, settings, seed)
        self.spec = find_task(scenario.task).spec
        slots = max(network.slots for network in scenario.networks)
        self.frames_per_batch = settings.episodes * slots
        steps_per_batch = self.frames_per_batch * self.origin.cells
        self.iterations = -(-settings.steps // steps_per_batch)
        self.reward_scale = random_rewards(scenario)
        self._folder = tempfile.TemporaryDirectory()
        self.experiment = make_experiment(
            method,
            NetworkTaskClass.of(scenario, reward_scale=self.reward_scale),
            settings,
            rounds=self.iterations,
            slots=slots,
            # Far apart, so that the episodes of two runs are not the same.
            seed=seed * 1_000_003 % VALIDATION_SEED,
            folder=self._folder.name,
            callback=_Watch(self),
        )
        self.rows: list[dict[str, Any]] = []
        self._report: Report = lambda _, __: None
        self._batch_reward = 0.0
        found = resume_run(path, self.origin, *self._trained)
        if found is not None:
            self._go_on(found[0]["rows"])

    def run(self, report: Report) -> SavedPolicy:
        """Train to the end and write policy and curve; `report` gets environment steps and a note."""
        self._report = report
        self.experiment.seed = self._seed_of(len(self.rows))  # of the actions that are drawn
        with self._folder, quiet():
            self.experiment.run()
        weights = {name: one.clone() for name, one in self.actor().state_dict().items()}
        policy = SavedPolicy(self.origin, self.iterations, self.steps, weights)
        write_policy(self.path, policy)
        run_path(self.path).unlink(missing_ok=True)
        return policy

    @property
    def steps(self) -> int:
        """Environment steps so far: slots of single cells."""
        return int(self.experiment.total_frames) * self.origin.cells

    @property
    def total_steps(self) -> int:
        """Environment steps of the whole run."""
        return self.iterations * self.frames_per_batch * self.origin.cells

    def actor(self) -> CellPerceptron:
        """Return the present actor as plain perceptrons."""
        view = find_method(self.method).view(self.spec)
        actor = make_actor(view, self.settings, self.origin.cells)
        copy_weights(trained_perceptron(self.experiment.group_policies[GROUP]), actor)
        return actor

    def collected(self, reward: float) -> None:
        """Take note of the mean standardised reward of a batch."""
        mean, deviation = self.reward_scale
        self._batch_reward = mean + deviation * reward

    def learned(self) -> None:
        """Add a row to the curve after an iteration, judge the policy now and then, and report."""
        iteration = len(self.rows) + 1
        due = iteration % max(1, self.iterations // VALIDATIONS) == 0
        scored = self.spec.kpis[0].name
        self.rows.append(
            {
                "environment_steps": self.steps,
                "mean_reward": round(self._batch_reward, 5),
                scored: round(self.validated(), 5) if due or iteration == self.iterations else "",
            }
        )
        text = io.StringIO()
        table = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        write_atomically(self.path.with_suffix(".csv"), text.getvalue().encode())
        last = next((row[scored] for row in reversed(self.rows) if row[scored] != ""), "")
        if iteration % SAVE_EVERY == 0 and iteration < self.iterations:
            save_run(self.path, self.origin, *self._trained, {"rows": self.rows})
        if self.experiment.on_policy:
            self.experiment.replay_buffers[GROUP].empty()  # its sampler drew the next order already
        torch.manual_seed(self._seed_of(iteration))
        self._report(self.steps, f"reward {self._batch_reward:.3f} {scored} {last}".rstrip())

    def validated(self) -> float:
        """Return the scored figure of merit of the deterministic policy, the mean over all networks."""
        method = find_method(self.method)
        policy = BaselinePolicy(method, self.spec, self.actor(), self.method)
        make, values = find_task(self.scenario.task).make, []
        for network in self.scenario.networks:
            seeds = range(VALIDATION_SEED, VALIDATION_SEED + VALIDATION_EPISODES)
            values.append(run_policy(make(network, seeds), policy)[self.spec.kpis[0].name])
        return float(np.mean(values))

    def _seed_of(self, iteration: int) -> int:
        """Return the seed of an iteration, so that a resumed run draws what it would have drawn."""
        return (self.origin.seed * 1_000_003 + iteration) % 2**31

    @property
    def _trained(self) -> tuple[torch.nn.Module, list[torch.optim.Optimizer]]:
        """All weights that are trained, and their optimisers."""
        optimisers = self.experiment.optimizers[GROUP]
        return self.experiment.losses[GROUP], list(optimisers.values())

    def _go_on(self, rows: list[dict[str, Any]]) -> None:
        """Take up the counts of a run that has these rows, and begin new episodes."""
        experiment, self.rows = self.experiment, rows
        experiment.n_iters_performed = len(rows)
        experiment.total_frames = len(rows) * self.frames_per_batch
        explorer = list(experiment.group_policies[GROUP].modules())[-1]
        if hasattr(explorer, "step"):
            explorer.step(experiment.total_frames)
        experiment.collector.env.base_env.turn = len(rows)
        experiment.collector.reset()


class _Watch(Callback):  # type: ignore[misc]
    """Tells a run what BenchMARL does."""

    def __init__(self, training: OnlineTraining) -> None:
        super().__init__()
        self._training = training

    def on_batch_collected(self, batch: Any) -> None:
        """Hand the reward over."""
        self._training.collected(float(batch["next", GROUP, "reward"].mean()))

    def on_train_end(self, training_td: Any, group: str) -> None:
        """Say that an iteration is over."""
        del training_td, group
        self._training.learned()

    def __getstate__(self) -> dict[str, Any]:
        """Keep the run out of the folder that BenchMARL writes and we do not use."""
        return {}


def random_rewards(scenario: Scenario) -> tuple[float, float]:
    """Return mean and standard deviation of the rewards that the task's random rule gets."""
    entry, rewards = find_task(scenario.task), []
    for network in scenario.networks:
        seeds = range(VALIDATION_SEED, VALIDATION_SEED + VALIDATION_EPISODES)
        task, rule = entry.make(network, seeds), entry.heuristics["random"]()
        run_policy(task, rule, record=lambda one: rewards.append(one.outcome.reward.ravel()))
    together = np.concatenate(rewards)
    return float(together.mean()), float(together.std()) or 1.0


def trained_perceptron(policy: torch.nn.Module) -> MultiAgentMLP:
    """Return the perceptron inside a policy of BenchMARL.

    Raises:
        ConfigError: There is not exactly one.
    """
    found = [one for one in policy.modules() if isinstance(one, MultiAgentMLP)]
    if len(found) != 1:
        raise ConfigError("BenchMARL", f"{len(found)} perceptrons in a policy, expected 1")
    return found[0]


def copy_weights(source: MultiAgentMLP, actor: CellPerceptron) -> None:
    """Copy BenchMARL's weights; one that cells share has no axis for them there."""
    params: dict[str, Tensor] = dict(source.params.flatten_keys(".").items())
    layers = sorted({name.split(".")[0] for name in params}, key=int)
    with torch.no_grad():
        for layer, weight, bias in zip(layers, actor.weights, actor.biases, strict=True):
            weight.copy_(params[f"{layer}.weight"].view_as(weight))
            bias.copy_(params[f"{layer}.bias"].view_as(bias))
