"""Where graphs run: on the processor or a GPU, with how many threads, and what if that is not there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from networld_runtime.errors import ConfigError, check_values

_log = logging.getLogger(__name__)

ONNX_RUNTIME_NAMES: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""What ONNX Runtime calls a provider."""
AUTO = "auto"
PROVIDERS = (*ONNX_RUNTIME_NAMES, AUTO)
FASTEST_FIRST = ("tensorrt", "cuda", "cpu")
ON_MISSING = ("fail", "degrade")
MOST_THREADS = 256


@dataclass(frozen=True)
class Execution:
    """Where graphs run.

    Attributes:
        provider: `cpu`, `cuda`, `tensorrt`, or `auto`: the fastest of them that is there.
        threads: Threads of a graph on the processor. With more than one, tail latency doubles beside a
            busy process.
        on_missing: What to do where the provider is not there, `fail` or `degrade` to the processor.
        cache: Folder for engines that TensorRT builds; None builds them anew at every start, which takes
            minutes.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    provider: str = "cpu"
    threads: int = 1
    on_missing: str = "fail"
    cache: Path | None = None

    def __post_init__(self) -> None:
        check_values(
            "execution",
            self,
            (
                ("provider", self.provider in PROVIDERS, f"one of {', '.join(PROVIDERS)}"),
                ("threads", 1 <= self.threads <= MOST_THREADS, f"1 to {MOST_THREADS}"),
                ("on_missing", self.on_missing in ON_MISSING, " or ".join(ON_MISSING)),
            ),
        )

    def choose(self, available: Sequence[str]) -> list[str]:
        """Return the providers to ask for, `cpu`, `cuda` or `tensorrt`, until one of them starts.

        Args:
            available: What this ONNX Runtime was built with, by its own names; what is built in may lack its
                libraries here.

        Raises:
            ConfigError: The provider is not there, and that is not to be lived with.
        """
        known = [name for name in FASTEST_FIRST if ONNX_RUNTIME_NAMES[name] in available]
        if self.provider == AUTO:
            return known
        if self.provider in known:
            return [self.provider]
        return [self.missing(f"this ONNX Runtime has {', '.join(known)} only")]

    def missing(self, reason: str) -> str:
        """Return `cpu` in place of a provider that is not there.

        Args:
            reason: Why it is not.

        Raises:
            ConfigError: That is not to be lived with.
        """
        text = f'provider = "{self.provider}": {reason}'
        if self.on_missing == "fail":
            raise ConfigError(
                "execution",
                f'{text}; install an ONNX Runtime with it, set on_missing = "degrade", or provider = "cpu"',
            )
        _log.warning("%s; graphs run on the processor", text)
        return "cpu"


ONE_THREAD = Execution()
"""What suits a base station: small graphs gain nothing from more, and leave the other cores alone."""
