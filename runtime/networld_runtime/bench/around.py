"""What planning needs beside planning: a process that starts, memory, messages, a step of adaptation."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from networld_runtime.bench.energy import mean_power_w
from networld_runtime.bench.load import adapting_process, filled_inputs, one_core
from networld_runtime.bench.timing import time_work
from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.mesh.message import MeanFieldMessage, decode, encode
from networld_runtime.planner import Planner

RUNS = 500
ADAPTATION_RUNS = 20
PACED_RUNS, PACE_S = 2000, 0.005
FEW_PLANS, MANY_PLANS = 1000, 100_000
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


def measure_at_length(bundle: Bundle) -> dict[str, float]:
    """Return what takes longer: planning beside an adaptation, growth of memory with plans, their energy."""
    planner = Planner(bundle)
    latent = np.zeros(bundle.contract.latent_size, dtype=np.float32)
    field = np.zeros(bundle.contract.mean_field_size, dtype=np.float32)

    def plan() -> None:
        planner.plan(latent, field)

    def p99_ms() -> float:
        return time_work(plan, PACED_RUNS, PACE_S, afterwards=planner.draw_ahead).p99_ms

    with one_core():
        alone_ms = p99_ms()
    with adapting_process(bundle):
        beside_ms = p99_ms()
    for _ in range(FEW_PLANS):
        plan()
    before_mb, begun_s = _memory_mb("VmRSS"), time.monotonic()
    power_w = mean_power_w(plan, MANY_PLANS)
    plan_s = (time.monotonic() - begun_s) / MANY_PLANS
    energy = {} if power_w is None else {"energy_per_plan_mj": 1000 * power_w * plan_s}
    return {
        **energy,
        "paced_plan_p99_ms": alone_ms,
        "paced_plan_beside_adaptation_p99_ms": beside_ms,
        "memory_growth_of_100000_plans_mb": round(_memory_mb("VmRSS") - before_mb, 3),
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
    print(json.dumps({"start_s": round(taken_s, 3), "memory_mb": round(_memory_mb("VmHWM"), 1)}))


def _memory_mb(name: str) -> float:
    """Return memory of this process, `VmRSS` now or `VmHWM` at most.

    What its parent had before it began does not count, as it does in what `getrusage` says.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines[name].split()[0]) * 1024 / 1e6
