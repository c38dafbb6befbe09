"""Options of `networld-agent bench`; imports nothing slow."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="FOLDER", help="what plans")
    parser.add_argument("--task", action="append", help="only this task; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a few rows, in two minutes")
    parser.add_argument(
        "--output", type=Path, default=Path("bench.html"), metavar="FILE", help="the report"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, for machines")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="figures of another board, beside these"
    )
