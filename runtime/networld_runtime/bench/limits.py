"""What one core of this computer can do at most: multiply and add, and read memory.

Run as a module in a process of its own, since NumPy's library takes its number of threads from the
environment when it is loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

SIZES = (64, 128, 256, 512)
"""Rows and columns of the matrices that are multiplied: the best size counts."""
STREAM_BYTES = 128 << 20
"""Larger than any cache."""
WEIGHT_BYTES = 1 << 20
"""About as large as the weights of a plan in one graph."""
MEASURED_S = 0.15
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Limits:
    """What one core can do at most.

    Attributes:
        flop_rate: Floating-point operations a second, float32, a multiply-add counted as two.
        bandwidth: Bytes read from memory a second.
        cache_bandwidth: Bytes read a second where they are as few as the weights of a plan.
    """

    flop_rate: float
    bandwidth: float
    cache_bandwidth: float

    def least_ms(self, operations: float, weight_bytes: float) -> float:
        """Return the least time for so many operations and bytes, whichever takes longer (a roofline).

        Weights are taken to lie in a cache, where they do between two plans back to back.
        """
        return 1000 * max(operations / self.flop_rate, weight_bytes / self.cache_bandwidth)


def measure_limits() -> Limits:
    """Return the limits, measured in a fresh process with one thread."""
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    command = [sys.executable, "-m", "networld_runtime.bench.limits"]
    done = subprocess.run(  # noqa: S603 - our own module
        command, env=environment, capture_output=True, check=True, text=True
    )
    return Limits(**json.loads(done.stdout))


def _flop_rate() -> float:
    random = np.random.default_rng(0)
    rates = []
    for size in SIZES:
        left, right = random.standard_normal((2, size, size), dtype=np.float32)
        rates.append(2 * size**3 / _fastest_s(partial(np.matmul, left, right, np.empty_like(left))))
    return max(rates)


def _bandwidth(size_bytes: int) -> float:
    values = np.ones(size_bytes // 4, dtype=np.float32)
    return size_bytes / _fastest_s(values.max)


def _fastest_s(work: Callable[[], object]) -> float:
    """Return the shortest time of many runs: what disturbs a run is no limit of the core."""
    work()
    fastest_s, end_s = float("inf"), time.perf_counter() + MEASURED_S
    while time.perf_counter() < end_s:
        begin_s = time.perf_counter()
        work()
        fastest_s = min(fastest_s, time.perf_counter() - begin_s)
    return fastest_s


if __name__ == "__main__":
    print(
        json.dumps(asdict(Limits(_flop_rate(), _bandwidth(STREAM_BYTES), _bandwidth(WEIGHT_BYTES))))
    )
