"""What a figure of speed depends on beside the code: processor, memory, clock policy, versions."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from networld_runtime.sessions import runtime_version

PROCESSOR_KEYS = ("model name", "Model", "Hardware")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
BOARD = Path("/proc/device-tree/model")


@dataclass(frozen=True)
class Machine:
    """A computer that something was measured on.

    Attributes:
        processor: Name of the processor.
        board: Name of the board, where the system tells it.
        architecture: Instruction set.
        cores: Cores that this process may use.
        memory_mb: Main memory.
        governor: Policy of the processor's clock, where the system tells it.
        system: Kernel.
        python: Version of Python.
        numpy: Version of NumPy.
        onnxruntime: Version of ONNX Runtime.
        load: Processes that wanted to run in the last minute, on average, before anything was measured.
    """

    processor: str
    board: str
    architecture: str
    cores: int
    memory_mb: int
    governor: str
    system: str
    python: str
    numpy: str
    onnxruntime: str
    load: float


def describe_machine() -> Machine:
    """Return this computer; what the system does not tell is an empty text."""
    return Machine(
        processor=_processor() or platform.processor() or platform.machine(),
        board=_text(BOARD),
        architecture=platform.machine(),
        cores=usable_cores(),
        memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000,
        governor=_text(GOVERNOR),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        numpy=np.__version__,
        onnxruntime=runtime_version(),
        load=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    known = dict(line.split(":", 1) for line in lines if ":" in line)
    values = {key.strip(): value.strip() for key, value in known.items()}
    return next((values[key] for key in PROCESSOR_KEYS if key in values), "")


def usable_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _text(path: Path) -> str:
    try:
        return path.read_text().strip("\0\n ")
    except (OSError, UnicodeDecodeError):
        return ""
