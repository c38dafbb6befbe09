"""What planning needs beside planning: a process that starts, memory, messages, a step of adaptation."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from networld_runtime.bench.timing import time_work
from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.contract import FloatArray
from networld_runtime.message import MeanFieldMessage, decode, encode
from networld_runtime.planner import Planner

RUNS = 500
ADAPTATION_RUNS = 20
START = "from networld_runtime.bench.around import start; start({path!r}, {task!r}, {begin_s!r})"


def measure_around(bundle: Bundle) -> dict[str, float]:
    """Return figures by name: seconds, megabytes and milliseconds, as the names end."""
    values = np.linspace(-1, 1, bundle.contract.message_size, dtype=np.float32)
    message = MeanFieldMessage(1, 1, values, 1.0)
    payload = encode(message, bundle.contract)
    session = bundle.session("gradient")
    feeds = filled_inputs(bundle, "gradient")
    return {
        **_started(bundle),
        "encode_message_ms": time_work(lambda: encode(message, bundle.contract), RUNS).p50_ms,
        "decode_message_ms": time_work(lambda: decode(payload, bundle.contract), RUNS).p50_ms,
        "message_bytes": float(len(payload)),
        "adaptation_step_ms": time_work(lambda: session.run(**feeds), ADAPTATION_RUNS).p50_ms,
    }


def filled_inputs(bundle: Bundle, graph: str) -> dict[str, FloatArray]:
    """Return inputs for a graph of static shapes; what is in them changes no time."""
    inputs, _ = bundle.signature(graph)
    return {
        name: np.full([int(size) for size in shape], 0.1, dtype=np.float32)
        for name, shape in inputs.items()
    }


def _started(bundle: Bundle) -> dict[str, float]:
    """Return how long a fresh process takes to its first action, and how much memory it has then."""
    text = START.format(path=str(bundle.path), task=bundle.contract.task, begin_s=time.monotonic())
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603 - ours
    return dict(json.loads(done.stdout))


def start(path: str, task: str, begin_s: float) -> None:
    """Act once by a bundle's own settings, in a fresh process, and print what it took."""
    bundle = load_bundle(Path(path), task)
    contract = bundle.contract
    planner = Planner(bundle)
    latent = planner.encode(np.zeros(contract.observation_size, dtype=np.float32))
    planner.plan(latent, np.zeros(contract.mean_field_size, dtype=np.float32))
    taken_s = time.monotonic() - begin_s
    print(json.dumps({"start_s": round(taken_s, 3), "memory_mb": round(_largest_memory_mb(), 1)}))


def _largest_memory_mb() -> float:
    """Return the most memory that this process had; what its parent had before it began does not count."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
