"""Checks that any task or PettingZoo environment can be put to: `networld check`, or from pytest."""

from networld_training.conformance.suite import Report, check_parallel_env, check_task

__all__ = ["Report", "check_parallel_env", "check_task"]
