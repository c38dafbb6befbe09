"""The command: help, exit codes, and what it imports before it knows what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from networld_runtime import cli, startup
from networld_runtime.contract import Contract

SHIPPED = Path(__file__).parents[2] / "bundles" / "networld"


@pytest.mark.parametrize(
    "command", [[], ["run"], ["check"], ["adapt"], ["status"], ["diagnostics"]]
)
def test_help_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "example:\n  networld-agent" in text
    assert "exit codes:" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("networld-agent ")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run"], ["run", "--config"]])
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "check", "adapt"])
def test_wrong_configuration_ends_with_3(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "--config", str(tmp_path / "none.toml")]) == 3
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "check", "adapt"])
def test_missing_bundle_ends_with_4(
    command: str, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "--config", str(config_file)]) == 4
    assert "manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("planner", "mode"),
    [("", "policy"), ('mode = "select"', "select"), ("anytime = true", "anytime")],
)
def test_check_says_how_the_cell_will_act(
    planner: str, mode: str, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = re.sub(r'path = ".*"', f'path = "{SHIPPED}"', config_file.read_text(), count=1)
    config_file.write_text(f"{text}\n[planner]\n{planner}\n")
    assert cli.main(["check", "--config", str(config_file)]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"mode {mode}")


def test_no_broker_ends_with_5_and_names_the_address(
    config_file: Path,
    free_port: int,
    contract: Contract,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = f"broker = {{ port = {free_port}, connect_timeout_s = 0.2 }}\n"
    config_file.write_text(text + config_file.read_text())
    planner = SimpleNamespace(
        contract=contract,
        rung="plan",
        elastic=False,
        fallbacks=(),
        provider="cpu",
        warm_up=lambda: None,
    )
    bundle = SimpleNamespace(name="toy", version=1, digest="ab", contract=contract, couplings=1)
    monkeypatch.setattr(startup, "load_model", lambda _: (bundle, planner))
    assert cli.main(["run", "--config", str(config_file)]) == 5
    assert f"127.0.0.1:{free_port}: cannot connect" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "networld_runtime.cli", "exit-codes"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_interrupt_ends_with_130(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(startup, "load_model", interrupt)
    assert cli.main(["check", "--config", str(config_file)]) == 130


def test_command_line_is_read_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys; from networld_runtime import cli;"
        "print([name for name in ('onnxruntime', 'numpy', 'paho') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"
