"""Errors that a user can act on, and the exit code that each one ends a command with.

A message says what is wrong, which value was found, what was expected and what to do. Errors about a
file hold every problem of that file, so that a user mends it in one pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from networld_runtime.exit_codes import ExitCode

INTERRUPTED = ExitCode.INTERRUPTED
"""Exit code after Ctrl-C, as shells have it."""


class NetWorldError(Exception):
    """Base of every error that is shown without a traceback.

    Args:
        subject: The thing that is wrong (a file, a key, an address).
        problems: One line for each problem, or a single string.
    """

    exit_code: ClassVar[int] = ExitCode.FAILURE

    def __init__(self, subject: str, problems: str | Sequence[str]) -> None:
        self.subject = subject
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__(self.render())

    def render(self) -> str:
        """Return the message as shown to a person."""
        if len(self.problems) == 1:
            return f"{self.subject}: {self.problems[0]}"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        return f"{self.subject}: {len(self.problems)} problems\n{lines}"


class ConfigError(NetWorldError):
    """A configuration file or option is wrong."""

    exit_code = ExitCode.CONFIGURATION


def check_values(subject: str, owner: object, checks: Iterable[tuple[str, bool, str]]) -> None:
    """Raise one error for every attribute of `owner` that is out of range.

    Args:
        subject: What the attributes belong to, as a person would call it.
        owner: Holds the values.
        checks: Attribute, whether its value is fine, and what is expected.

    Raises:
        ConfigError: Some values are not fine; lists all of them.
    """
    problems = [
        f"{name} = {getattr(owner, name)!r}: expected {expected}"
        for name, valid, expected in checks
        if not valid
    ]
    if problems:
        raise ConfigError(subject, problems)


class BundleError(NetWorldError):
    """A bundle is missing, damaged or does not fit this runtime."""

    exit_code = ExitCode.BUNDLE


class SignatureError(BundleError):
    """A bundle is not signed by a trusted key, or was changed since."""


class BrokerError(NetWorldError):
    """The MQTT broker cannot be reached or refused us."""

    exit_code = ExitCode.BROKER


class DataError(NetWorldError):
    """A data set or checkpoint is missing, damaged or does not fit."""

    exit_code = ExitCode.DATA


class MessageError(NetWorldError):
    """A payload from the network was rejected; `reason` is the counter it belongs to."""

    exit_code = ExitCode.MESSAGE

    def __init__(self, reason: str, problem: str) -> None:
        self.reason = reason
        super().__init__(f"message rejected ({reason})", problem)
