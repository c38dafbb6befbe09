"""What a running agent brings into its process and leaves on the disk: nothing that is not ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHIPPED = Path(__file__).parents[2] / "bundles" / "networld"
FORBIDDEN = {"torch", "onnx", "onnxscript", "networld_training", "networld_export", "pickle5"}

# The real command from its start through 20 slots, with a radio that needs no broker.
SCRIPT = """
import json, os, sys
from networld_runtime import agent, cli, radio, realtime
from networld_runtime.mesh import mqtt_transport
import numpy as np

def observe(self, timeout_s):
    self.slot = getattr(self, "slot", -1) + 1
    if self.slot == 20:
        self.agent.stop()
        return None
    values = np.zeros(self._contract.observation_size, dtype=np.float32)
    now_s = realtime.monotonic_s()
    return radio.Observation(0, self.slot, values, 1.0, now_s, now_s + 1)

start = agent.Agent.start
def started(self):
    self._radio.agent = self
    start(self)

agent.Agent.start = started
radio.MqttRadio.observe = observe
mqtt_transport.MqttTransport.connect = lambda self: None
code = cli.main(["run", "--config", sys.argv[1]])
import networld_runtime.adaptation
report = {
    "code": code,
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "telemetry": os.environ.get("ORT_DISABLE_TELEMETRY"),
    "threads": len(os.listdir("/proc/self/task")),
}
print(json.dumps(report))
"""

CONFIG = """
[cell]
site = "test"
name = "cell-0"
task = "power"
neighbours = ["cell-1"]
[bundle]
path = "{bundle}"
[state]
directory = "state"
"""


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], Path]:
    folder = tmp_path_factory.mktemp("agent")
    for name in ("home", "temporary", "here"):
        (folder / name).mkdir()
    (folder / "cell.toml").write_text(CONFIG.format(bundle=SHIPPED))
    environment = {
        name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"
    }
    environment |= {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "temporary"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder / "cell.toml")],
        cwd=folder / "here",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), folder


def test_agent_ran_and_ended_well(traces: tuple[dict[str, object], Path]) -> None:
    assert traces[0]["code"] == 0


def test_neither_torch_nor_onnx_is_imported(traces: tuple[dict[str, object], Path]) -> None:
    modules = traces[0]["modules"]
    assert isinstance(modules, list)
    assert "onnxruntime" in modules
    assert FORBIDDEN.isdisjoint(modules)


def test_telemetry_is_off_without_anyone_asking(traces: tuple[dict[str, object], Path]) -> None:
    assert traces[0]["telemetry"] == "1"


def test_no_thread_that_is_not_ours(traces: tuple[dict[str, object], Path]) -> None:
    threads = traces[0]["threads"]
    assert isinstance(threads, int)
    assert threads <= 3


def test_only_the_state_folder_is_written(traces: tuple[dict[str, object], Path]) -> None:
    _, folder = traces
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {path for path in written if not path.startswith("state/")} == {"cell.toml"}
    assert not any(SHIPPED.rglob("*.tmp"))
