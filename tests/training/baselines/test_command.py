"""`networld baseline`: from a data set to a policy that `networld evaluate` judges."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from networld_training.baselines.policy_file import read_policy
from networld_training.cli import main

Sets = Callable[[str], Path]


def command(*words: object) -> int:
    return main(["baseline", *map(str, words)])


def test_a_policy_is_made_once(
    small_set: Sets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.safetensors"
    words = ["--method", "iql", "--data", small_set("power"), "--output", path, "--set", "width=16"]
    assert command(*words, "--steps", 60) == 0
    said = capsys.readouterr()
    assert f"policy: {path}" in said.out
    assert "iql of task power, seed 0: weights of step 60, 504 environment steps" in said.out
    assert "iql 60/60" in said.err
    settings = read_policy(path).origin.settings
    assert (settings["width"], settings["discount"]) == (16, 0.5)
    made = path.stat().st_mtime_ns
    assert command(*words, "--steps", 60) == 0
    assert path.stat().st_mtime_ns == made
    assert command(*words, "--steps", 61, "--seed", 1) == 6
    said = capsys.readouterr()
    assert "seed = 0 there, 1 here" in said.err
    assert "steps = 60 there, 61 here" in said.err
    judged = ["--scenario", "power/umi200", "--only", "--policy", str(path), "--episodes", "1"]
    assert main(["evaluate", *judged]) == 0
    assert "iql" in capsys.readouterr().out


def test_all_that_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "policy"
    assert command("--method", "bc", "--scenario", "train", "--output", output) == 3
    said = capsys.readouterr().err
    assert "expected a name that ends in .safetensors" in said
    assert "--data: bc learns from a data set; name its folder" in said
    assert "--scenario: bc learns from a data set; leave it out" in said
    assert command("--method", "ppo", "--output", output) == 3
    assert "known: bc, iql, dd, ippo, mappo, qmix" in capsys.readouterr().err
    assert command("--method", "qmix", "--data", tmp_path, "--output", "x.safetensors") == 3
    assert "--data: qmix plays in the simulator; leave it out" in capsys.readouterr().err


def test_online_methods_say_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert command("--method", "ippo", "--output", tmp_path / "policy.safetensors") == 3
    said = capsys.readouterr().err
    assert "ippo: needs BenchMARL" in said
    assert "`make baselines`" in said
