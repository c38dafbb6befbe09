"""`networld scenarios`: list the worlds that results are compared on, or show one."""

from __future__ import annotations

import argparse

from networld_training.cli import Subparsers, add_command


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "scenarios",
        "List all scenarios with their hashes, or show one with all of its parameters.",
        "networld scenarios power/umi100",
    )
    parser.add_argument("scenario", nargs="?", help="id; power/umi100 is short for ...-v0")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show them; return 0."""
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from networld_training.tasks.registry import SCENARIOS, find_scenario

    if arguments.scenario is not None:
        scenario = find_scenario(arguments.scenario)
        networks = [asdict(network) for network in scenario.networks]
        shown = {"id": scenario.id, "axis": scenario.axis, "sha256": scenario.digest()}
        print(json.dumps({**shown, "networks": networks}, indent=1))
        return 0
    table = Table()
    for heading in ("scenario", "axis", "networks", "sha256"):
        table.add_column(heading, no_wrap=True)
    for scenario in SCENARIOS.values():
        count = str(len(scenario.networks))
        table.add_row(scenario.id, scenario.axis, count, scenario.digest()[:16])
    Console().print(table)
    return 0
