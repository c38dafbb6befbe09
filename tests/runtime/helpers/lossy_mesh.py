"""A mesh in a network that loses packets: `unshare --user --net --map-root-user python lossy_mesh.py FOLDER`.

FOLDER holds contract.json. Prints as JSON what came of it. The loss is at the receiving end of loopback,
where TCP does not see that its own machine drops; acknowledgements are lost as often as messages.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from brokers import Mosquitto, which
from isolated_cell import raise_loopback
from small_mesh import mesh

from networld_runtime.contract import Contract

CELLS = 3
SLOTS = 40
RULES = """
table inet lossy {
    chain input {
        type filter hook input priority 0;
        tcp dport PORT jump count_and_drop
        tcp sport PORT jump count_and_drop
    }
    chain count_and_drop {
        counter name passed
        numgen random mod 10 < 3 counter name dropped drop
    }
    counter passed { }
    counter dropped { }
}
"""


def main() -> None:
    """Start broker and cells, lose packets for a while, and see all of them again."""
    folder = Path(sys.argv[1])
    contract = Contract.from_json(json.loads((folder / "contract.json").read_text()))
    raise_loopback()
    with (
        Mosquitto(folder) as broker,
        mesh(contract, folder, [broker.port] * CELLS, slot_s=0.1) as cells,
    ):
        before = _retransmitted()
        _nft("-f", "-", text=RULES.replace("PORT", str(broker.port)))
        lossy = cells.run(SLOTS)
        counted = _nft("list", "counters")
        _nft("delete", "table", "inet", "lossy")
        retransmitted = _retransmitted() - before
        cells.run_until(cells.all_hear_all, patience_s=60)
        cells.assert_all_acted()
        passed, dropped = (
            int(re.findall(rf"counter {name} {{\s+packets (\d+)", counted)[0])
            for name in ("passed", "dropped")
        )
        found = {
            "passed": passed,
            "dropped": dropped,
            "retransmitted": retransmitted,
            "share": cells.share(lossy),
            "overran": cells.overran,
            "back": cells.all_hear_all(),
        }
    print(json.dumps(found))


def _nft(*options: str, text: str = "") -> str:
    command = [which("nft") or "nft", *options]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def _retransmitted() -> int:
    """Return how many TCP segments this network sent again."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    names, values = (line for line in lines if line[0] == "Tcp:")
    return int(values[names.index("RetransSegs")])


if __name__ == "__main__":
    main()
