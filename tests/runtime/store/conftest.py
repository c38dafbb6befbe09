"""What the tests of the store share."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_cell import StoreCell, make_cell

from networld_runtime.contract import Contract


@pytest.fixture
def cell(contract: Contract, tmp_path: Path) -> StoreCell:
    return make_cell(tmp_path, contract)
