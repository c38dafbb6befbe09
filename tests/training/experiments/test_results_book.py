"""Results that outlive their models: found again, forgotten when their origin changes, safe from damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from networld_runtime.errors import DataError
from networld_training.experiments.results_book import ResultsBook, Subject

MODEL = Subject("all-0", {"seed": 0, "settings": {"steps": 5}})
QUESTION = {"scenario": "abc", "seeds": [1, 2]}
METRICS = {"rate": np.array([1.23456789, float("nan")]), "jain": np.array([0.5, 1.0])}


@pytest.fixture
def book(tmp_path: Path) -> ResultsBook:
    """A book that knows one answer."""
    book = ResultsBook(tmp_path / "results")
    book.keep(MODEL, QUESTION, METRICS, "a note")
    return book


@pytest.mark.parametrize("fresh", [True, False])
def test_a_result_is_found_again(book: ResultsBook, fresh: bool) -> None:
    found = (ResultsBook(book.folder) if fresh else book).find(MODEL, QUESTION)
    assert found is not None
    assert found.keys() == METRICS.keys()
    for name, values in METRICS.items():
        assert np.allclose(found[name], values, rtol=1e-6, equal_nan=True)


def test_another_question_has_no_answer(book: ResultsBook) -> None:
    assert book.find(MODEL, {**QUESTION, "seeds": [1, 3]}) is None
    assert book.find(Subject("all-1", MODEL.origin), QUESTION) is None


def test_results_of_another_origin_are_forgotten_once_there_are_new_ones(book: ResultsBook) -> None:
    other = Subject("all-0", {"seed": 0, "settings": {"steps": 6}})
    assert book.find(other, QUESTION) is None
    assert book.find(MODEL, QUESTION) is not None
    book.keep(other, QUESTION, METRICS, "a note")
    assert book.find(MODEL, QUESTION) is None
    assert book.find(other, QUESTION) is not None


def test_a_policy_of_unknown_origin_is_taken_as_it_is(book: ResultsBook) -> None:
    unknown = Subject("all-0", {})
    assert book.find(unknown, QUESTION) is not None
    book.keep(unknown, {"more": 1}, METRICS, "a note")
    assert book.find(MODEL, {"more": 1}) is not None


def test_what_another_process_kept_is_seen(book: ResultsBook) -> None:
    assert book.find(MODEL, {"more": 1}) is None
    ResultsBook(book.folder).keep(MODEL, {"more": 1}, METRICS, "a note")
    assert book.find(MODEL, {"more": 1}) is not None
    assert book.find(MODEL, QUESTION) is not None


@pytest.mark.parametrize("text", ["{", "[]", '{"origin": {}}', '{"origin": 3, "results": {}}'])
def test_a_damaged_file_is_named(book: ResultsBook, text: str) -> None:
    (book.folder / "all-0.json").write_text(text)
    with pytest.raises(DataError, match=r"all-0\.json: not a file of results"):
        book.find(MODEL, QUESTION)
