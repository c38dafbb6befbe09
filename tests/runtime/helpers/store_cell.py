"""A cell with a store of bundles, as the tests of the store need it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_bundles import make_bundle, sign_manifest, write_keys

from networld_runtime.bundle import Bundle
from networld_runtime.config import Config
from networld_runtime.config_reader import load_config
from networld_runtime.contract import Contract
from networld_runtime.planner import Planner
from networld_runtime.startup import build_model
from networld_runtime.store import activation
from networld_runtime.store.folder import Store
from networld_runtime.store.install import install
from networld_runtime.store.record import Record
from networld_runtime.store.signature import trusted_keys

CONFIG = """
[cell]
site = "test"
name = "a"
task = "power"
neighbours = ["b", "c"]
[bundle]
store = "store"
trusted_keys = "trusted"
probation_slots = 20
probation_bad_slots = 3
[state]
directory = "state"
"""


@dataclass(frozen=True)
class StoreCell:
    """A cell, all of whose files lie in one folder.

    Attributes:
        folder: The folder.
        contract: The contract of its bundles.
    """

    folder: Path
    contract: Contract

    @property
    def key(self) -> Path:
        """File of the private key that signs its bundles."""
        return self.folder / "keys" / "ours.key"

    @property
    def config_file(self) -> Path:
        return self.folder / "cell.toml"

    @property
    def config(self) -> Config:
        return load_config(self.config_file)

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    @property
    def keys(self) -> dict[str, bytes]:
        return trusted_keys(self.folder / "trusted")

    @property
    def record(self) -> Record:
        return self.store.record()

    def bundle(self, version: int, **more: Any) -> Path:
        """Write and sign a bundle, and return its folder."""
        contract = more.pop("contract", self.contract)
        name = "-".join(map(str, [version, *more.values(), contract.digest().hex()[:4]]))
        folder = make_bundle(self.folder / f"bundle-{name}", contract, version, **more)
        return sign_manifest(folder, self.key)

    def build(self, path: Path) -> tuple[Bundle, Planner]:
        return build_model(self.config, path)

    def install(self, source: Path, **more: Any) -> str:
        """Install a bundle and return its digest."""
        return install(self.store, source, self.keys, "power", self.build, **more).digest

    def activate(self, digest: str, **more: Any) -> Record:
        return activation.activate(self.store, digest, self.keys, "power", **more)

    def use(self, version: int, *, proven: bool = True, **more: Any) -> str:
        """Make, install and activate a bundle, and let it prove itself; return its digest."""
        digest = self.install(self.bundle(version, **more))
        self.activate(digest)
        if proven:
            activation.commit(self.store, digest, version)
        return digest

    def start(self) -> str:
        """Load the bundle in use as a cell that starts does; return its digest."""
        return activation.start(self.store, self.keys, self.build)[0].digest


def make_cell(folder: Path, contract: Contract) -> StoreCell:
    """Write a configuration and a trusted key."""
    cell = StoreCell(folder, contract)
    write_keys(folder / "keys", "ours")
    (folder / "trusted").mkdir()
    (folder / "keys" / "ours.pub").rename(folder / "trusted" / "ours.pub")
    cell.config_file.write_text(CONFIG)
    return cell
