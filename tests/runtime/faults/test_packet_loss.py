"""Three in ten IP packets are really lost, in a network of its own: TCP brings all late, and ages tell it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from brokers import which

from networld_runtime.contract import Contract

LOSSY_MESH = Path(__file__).parents[1] / "helpers" / "lossy_mesh.py"
OWN_NETWORK = ["unshare", "--user", "--net", "--map-root-user"]


def test_three_in_ten_packets_lost(tmp_path: Path, contract: Contract) -> None:
    for program in ("mosquitto", "unshare", "nft"):
        if which(program) is None:
            pytest.skip(f"{program} is not installed")
    tried = subprocess.run(
        [*OWN_NETWORK, which("nft") or "", "add", "table", "inet", "lossy"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"no network of its own without root: {tried.stderr.strip()}")
    (tmp_path / "contract.json").write_text(json.dumps(contract.to_json()))
    done = subprocess.run(
        [*OWN_NETWORK, sys.executable, str(LOSSY_MESH), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["overran"] == 0
    assert found["dropped"] > 50
    assert 0.25 < found["dropped"] / found["passed"] < 0.35
    assert found["retransmitted"] > 20
    assert 0.1 < found["share"] < 0.99  # late ones are missing, and nobody is lost
    assert found["back"]
