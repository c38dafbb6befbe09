"""What can be evaluated, and what is said when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from networld_runtime.errors import BundleError, ConfigError, DataError, NetWorldError
from networld_training.environments.rollout import run_policy
from networld_training.evaluation.comparison import Comparison
from networld_training.evaluation.own_policy import load_own_policy
from networld_training.evaluation.policies import find_contenders
from networld_training.tasks import registry
from networld_training.tasks.power import PowerNetwork, PowerTask
from networld_training.tasks.power.contract import POWER_CONTRACT
from networld_training.tasks.scenario import Scenario

GOOD = """
import numpy as np

class Good:
    name = "good"
    information = "local"

    def reset(self):
        pass

    def act(self, task):
        return np.zeros(task.action_shape)
"""


def own(folder: Path, source: str, name: str = "Good") -> str:
    (folder / "own.py").write_text(source)
    return f"{folder / 'own.py'}:{name}"


def test_rules_come_first_and_a_policy_may_be_called_otherwise(tmp_path: Path) -> None:
    text = own(tmp_path, GOOD)
    found = find_contenders("power", [text, f"better={text}", "full"])
    assert [one.name for one in found[-2:]] == ["good", "better"]
    assert found[0].name == "random"
    assert [one.name for one in found].count("full") == 1
    few = find_contenders("power", ["full"], only=True)
    assert [one.name for one in few] == ["random", "wmmse-pf", "full"]


def test_an_own_class_is_judged_beside_the_rules(short: Scenario, tmp_path: Path) -> None:
    comparison = Comparison((short,), (own(tmp_path, GOOD),), episodes=3)
    (result,) = comparison.run(lambda _: None)
    rows = {row.policy: row for row in result.rows}
    assert rows["good"].score == rows["full"].score  # it does the same
    assert rows["good"].information == "local"


def test_a_class_of_an_installed_module_will_do() -> None:
    policy = load_own_policy("networld_training.tasks.power.heuristics:Full")
    assert policy.name == "full"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fulll", "no rule of the task power"),
        ("no/such/folder", "no manifest.json found"),
        ("nowhere.safetensors", "no checkpoint there"),
        ("nowhere.py:Good", "nowhere.py: there is no such file"),
        ("no_such_module:Good", "no_such_module: cannot be imported, ModuleNotFoundError"),
    ],
)
def test_what_is_not_there_is_said(text: str, said: str) -> None:
    with pytest.raises(NetWorldError, match=said):
        find_contenders("power", [text])


def test_all_that_is_not_there_is_told_together() -> None:
    with pytest.raises(ConfigError, match="3 problems"):
        find_contenders("power", ["fulll", "nowhere.py:Good", "nowhere.safetensors"])


def test_two_policies_of_one_name_are_refused(tmp_path: Path) -> None:
    text = own(tmp_path, GOOD.replace('"good"', '"full"'))
    with pytest.raises(ConfigError, match="'full' is the name of several"):
        find_contenders("power", [text])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("class Good", "Good = 3\n\nclass Better", "own.py:Good: is 3: expected a class"),
        ("class Good", "class Better", "has no 'Good'; known here: Better"),
        ("import numpy as np", "import nunpy", "own.py: cannot be imported, ModuleNotFoundError"),
        ("import numpy as np", "import numpy as", "own.py: cannot be imported, SyntaxError"),
        ("import numpy as np", "exit(3)", "own.py: cannot be imported, SystemExit: 3"),
        ("reset(self)", "__init__(self, size)", "cannot be made without arguments"),
        ('name = "good"', "name = 3", "name = 3: expected a string"),
        ('"local"', '"everything"', "expected one of none, local, mean-field, one-hop, genie"),
        ("def reset", "def restart", r"has no method reset: expected reset\(\)"),
        ("def act", "act = None\n\n    def do", r"has no method act: expected act\(task\)"),
    ],
)
def test_a_class_that_is_no_policy_is_refused(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        load_own_policy(own(tmp_path, GOOD.replace(old, new)))


def test_all_that_a_class_lacks_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="4 problems"):
        load_own_policy(own(tmp_path, "class Good:\n    pass\n"))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("np.zeros((2, 3))", r"act returned shape \(2, 3\), expected numbers of shape \(2, 7, 1\)"),
        ("None", "act returned"),
        ("'full'", "act returned str, expected numbers"),
        (
            "np.full(task.action_shape, 3.0)",
            "own.py:Good in slot 0: power_db = 3 of cell 0 in episode 0",
        ),
        ("np.full(task.action_shape, np.nan)", "own.py:Good in slot 0: power_db = nan of cell 0"),
        ("1 / 0", r"act failed in slot 0: ZeroDivisionError: division by zero \(.*own.py, line 12"),
        ("task.nothing", "act failed in slot 0: AttributeError"),
    ],
)
def test_what_a_class_does_wrong_is_said(returned: str, said: str, tmp_path: Path) -> None:
    text = own(tmp_path, GOOD.replace("np.zeros(task.action_shape)", returned))
    task = PowerTask(PowerNetwork(slots=2, warm_up_slots=1), [0, 1])
    with pytest.raises(NetWorldError, match=said):
        run_policy(task, load_own_policy(text))


def test_a_reset_that_fails_is_said(tmp_path: Path) -> None:
    text = own(tmp_path, GOOD.replace("pass", "raise ValueError('no')"))
    with pytest.raises(ConfigError, match="reset failed: ValueError: no"):
        load_own_policy(text).reset()


def test_an_own_file_may_hold_a_dataclass_and_import_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "silence_of_own_policy.py").write_text("SILENT_DB = -40.0")
    source = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from silence_of_own_policy import SILENT_DB

@dataclass
class Good:
    name: str = "good"
    information: str = "local"

    def reset(self):
        pass

    def act(self, task):
        return np.full(task.action_shape, SILENT_DB)
"""
    task = PowerTask(PowerNetwork(slots=2, warm_up_slots=1), [0])
    assert run_policy(task, load_own_policy(own(tmp_path, source))).keys()


def test_fits_that_fails_is_said(short: Scenario, tmp_path: Path) -> None:
    source = GOOD + "\n    def fits(self, network):\n        return network.moons > 7\n"
    with pytest.raises(ConfigError, match=r"own.py:Good: fits failed: AttributeError: .* line 15"):
        assert Comparison((short,), (own(tmp_path, source),)).entries


def test_an_own_class_may_say_what_it_fits(short: Scenario, tmp_path: Path) -> None:
    source = GOOD + "\n    def fits(self, network):\n        return network.cells > 7\n"
    with pytest.raises(ConfigError, match="does not fit test/power/short-v0"):
        assert Comparison((short,), (own(tmp_path, source),)).entries


def test_tasks_without_a_contract_take_no_model(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "CONTRACTS", {"power": POWER_CONTRACT})
    for text in (str(tmp_path), str(tiny_checkpoint)):
        with pytest.raises(ConfigError, match="task 'sleep': the world model does not learn it"):
            find_contenders("sleep", [text])


def test_a_damaged_bundle_or_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "bad.safetensors").write_text("nothing")
    with pytest.raises(BundleError, match="damaged"):
        find_contenders("power", [str(tmp_path)])
    with pytest.raises(DataError, match="not a checkpoint"):
        find_contenders("power", [str(tmp_path / "bad.safetensors")])
