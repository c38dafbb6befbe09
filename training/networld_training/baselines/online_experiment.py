"""BenchMARL experiments of the online baselines: its configurations from our hyper-parameters."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Any

import benchmarl.algorithms
import benchmarl.experiment.experiment as benchmarl_experiment
from benchmarl.experiment import Callback, Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig
from torch import nn

from networld_training.baselines.online_settings import OnlineSettings
from networld_training.environments.benchmarl_task import NetworkTaskClass

LARGEST_BUFFER = 100_000
"""Slots that QMIX remembers."""


def make_experiment(
    method: str,
    task: NetworkTaskClass,
    settings: OnlineSettings,
    *,
    rounds: int,
    slots: int,
    seed: int,
    folder: str,
    callback: Callback,
) -> Experiment:
    """Return an experiment that is ready to run.

    Args:
        method: `ippo`, `mappo` or `qmix`.
        task: What is played.
        settings: Hyper-parameters.
        rounds: Rounds of play and learning.
        slots: Slots of an episode.
        seed: Seed of weights and episodes.
        folder: Where BenchMARL writes what it cannot do without.
        callback: Hears of every round.
    """
    with quiet():
        return Experiment(
            task=task,
            algorithm_config=_algorithm(method, settings),
            model_config=_perceptron(settings),
            critic_model_config=_perceptron(settings),
            seed=seed,
            config=_config(settings, rounds, slots, folder),
            callbacks=[callback],
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep BenchMARL's bar, logs and warnings back: ours says how long is left."""
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    shown = benchmarl_experiment.tqdm
    benchmarl_experiment.tqdm = partial(shown, disable=True)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            benchmarl_experiment.tqdm = shown


def _config(settings: OnlineSettings, rounds: int, slots: int, folder: str) -> ExperimentConfig:
    frames = settings.episodes * slots
    config = ExperimentConfig.get_from_yaml()
    config.share_policy_params = settings.share
    config.prefer_continuous_actions = False
    config.gamma, config.lr = settings.discount, settings.learning_rate
    config.max_n_frames = rounds * frames
    config.exploration_anneal_frames = max(1, int(settings.exploration_share * config.max_n_frames))
    config.on_policy_collected_frames_per_batch = frames
    config.on_policy_n_envs_per_worker = settings.episodes
    config.on_policy_n_minibatch_iters = settings.epochs
    config.on_policy_minibatch_size = min(settings.minibatch, frames)
    config.off_policy_collected_frames_per_batch = frames
    config.off_policy_n_envs_per_worker = settings.episodes
    config.off_policy_n_optimizer_steps = settings.epochs
    config.off_policy_train_batch_size = min(settings.minibatch, frames)
    config.off_policy_memory_size = min(LARGEST_BUFFER, config.max_n_frames)
    config.evaluation, config.loggers, config.create_json = False, [], False
    config.evaluation_episodes = 1
    config.save_folder = folder
    return config


def _algorithm(method: str, settings: OnlineSettings) -> Any:
    config = getattr(benchmarl.algorithms, f"{method.capitalize()}Config").get_from_yaml()
    if method != "qmix":
        config.share_param_critic = settings.share
        config.lmbda, config.entropy_coef = settings.trace, settings.entropy
    return config


def _perceptron(settings: OnlineSettings) -> MlpConfig:
    config = MlpConfig.get_from_yaml()
    config.num_cells = [settings.width, settings.width]
    config.activation_class = nn.Tanh
    return config
