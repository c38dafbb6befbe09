"""Every exit code of the commands in one table: number, name, meaning and what to do."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ends.

    Attributes:
        meaning: What happened.
        remedy: What to do.
        restart: Whether starting it again, with nothing changed, can help.
    """

    meaning: str
    remedy: str
    restart: bool

    def __new__(cls, value: int, meaning: str, remedy: str, restart: bool) -> ExitCode:
        """Make a member of the row of the table."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning, member.remedy, member.restart = meaning, remedy, restart
        return member

    SUCCESS = 0, "done, or asked to stop", "nothing", False
    FAILURE = (
        1,
        "failed in a way that has no code of its own",
        "read the last lines of the log; send a diagnostics archive",
        True,
    )
    USAGE = 2, "the command line is wrong", "see --help", False
    CONFIGURATION = (
        3,
        "the configuration, or an option, is wrong",
        "mend every line that it lists, then `networld-agent check`",
        False,
    )
    BUNDLE = (
        4,
        "the bundle is missing, damaged or does not fit",
        "copy or install the bundle again",
        False,
    )
    BROKER = (
        5,
        "the MQTT broker cannot be reached or refused the cell",
        "see that the broker runs, check [broker] and the password file",
        True,
    )
    DATA = (
        6,
        "a data set, log or state file is missing, damaged or does not fit",
        "remove or replace the file that it names",
        False,
    )
    MESSAGE = 7, "a payload from the network was rejected", "look at who sent it", True
    TASK = (
        8,
        "a task was given actions that it does not take; only `networld` ends so",
        "mend the policy that chose them",
        False,
    )
    NOT_READY = (
        9,
        "`status`: the cell runs but is not ready",
        "wait while it starts; else read the reasons that it prints",
        True,
    )
    NO_ANSWER = (
        10,
        "`status`: no cell answers at [watch]; `networld mesh`: no cell was heard",
        "start the cell; check host and port under [watch], or --broker and --site",
        True,
    )
    INTERRUPTED = 130, "Ctrl-C", "nothing", False


def summary() -> str:
    """Return the end of a help page: all codes in a few short lines."""
    words = [f"{code.value} {code.name.lower().replace('_', ' ')}" for code in ExitCode]
    lines = ["   ".join(words[start : start + 6]) for start in range(0, len(words), 6)]
    return "exit codes:\n  " + "\n  ".join(lines) + "\n  `networld-agent exit-codes` explains them"


def table() -> str:
    """Return the whole table as text, one code in a few lines."""
    return "\n".join(
        f"{code.value:>3}  {code.name.lower()}\n"
        f"     {code.meaning}\n"
        f"     to do: {code.remedy}\n"
        f"     starting again unchanged: {'can help' if code.restart else 'does not help'}"
        for code in ExitCode
    )
