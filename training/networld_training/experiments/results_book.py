"""What policies have achieved, a file for each, so that results outlive the models that made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from networld_runtime.errors import DataError
from networld_runtime.files import write_atomically
from networld_training.evaluation.scores import Metrics

DIGITS = 7
KEY_DIGITS = 16


@dataclass(frozen=True)
class Subject:
    """A policy whose results are kept.

    Attributes:
        name: Name of its file.
        origin: What it was made from, as JSON data; results of another origin are forgotten. Empty if it
            cannot be told, because the policy itself is gone: results are taken as they are then.
    """

    name: str
    origin: Mapping[str, Any]


class ResultsBook:
    """Results in a folder.

    Args:
        folder: Where the files lie; made when there is something to keep.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pages: dict[str, tuple[int, dict[str, Any]]] = {}

    def find(self, subject: Subject, question: Mapping[str, Any]) -> Metrics | None:
        """Return what a policy achieved, or None if it was not judged so far.

        Raises:
            DataError: The file is damaged.
        """
        found = self._page(subject)["results"].get(_key(question))
        if found is None:
            return None
        return {name: np.array(values) for name, values in found["metrics"].items()}

    def keep(
        self, subject: Subject, question: Mapping[str, Any], metrics: Metrics, note: str
    ) -> None:
        """Keep what a policy achieved.

        Args:
            subject: The policy.
            question: Everything that the result depends on beside the policy, JSON data.
            metrics: The result.
            note: What was asked, for people.
        """
        page = self._page(subject)
        rounded = {
            name: [float(f"{value:.{DIGITS}g}") for value in values.tolist()]
            for name, values in metrics.items()
        }
        results = {**page["results"], _key(question): {"what": note, "metrics": rounded}}
        page = {"origin": subject.origin or page["origin"], "results": results}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / f"{subject.name}.json", _text(page).encode())

    def _page(self, subject: Subject) -> dict[str, Any]:
        """Return the present content of a policy's file; another process may write to it as well."""
        path = self.folder / f"{subject.name}.json"
        written = path.stat().st_mtime_ns if path.exists() else 0
        then, page = self._pages.get(subject.name, (-1, {}))
        if then != written:
            page = _read(path)
            self._pages[subject.name] = written, page
        if subject.origin and page["origin"] and page["origin"] != subject.origin:
            return {"origin": subject.origin, "results": {}}
        return page


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"origin": {}, "results": {}}
    try:
        page = json.loads(path.read_text())
        return {"origin": dict(page["origin"]), "results": dict(page["results"])}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            str(path), f"not a file of results ({error}); remove it, or restore it"
        ) from error


def _text(page: Mapping[str, Any]) -> str:
    """Return a page as JSON with a line for each result."""
    results = sorted(page["results"].items())
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in results]
    joined = ",\n".join(lines)
    return f'{{"origin": {json.dumps(page["origin"])},\n"results": {{\n{joined}\n}}}}\n'


def _key(question: Mapping[str, Any]) -> str:
    text = json.dumps(question, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]
