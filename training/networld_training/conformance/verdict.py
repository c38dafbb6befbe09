"""How a check says what it found."""

from __future__ import annotations


class ViolationError(Exception):
    """What is checked does not do what the check demands."""


class NotApplicableError(Exception):
    """There is nothing to check; says why."""
