"""Keys of a site's cells for tests, and seals made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from networld_runtime.mesh.identity import Identity
from networld_runtime.mesh.identity_seal import IdentitySeal
from networld_runtime.store.signature import public_key, write_keys

SITE = "test"


def private_key(name: str) -> bytes:
    """Return a key that is the same in every run."""
    return (name * 32)[:32].encode()


@dataclass
class SiteKeys:
    """Private keys by cell; `public` is what the operator put into every cell's folder."""

    private: dict[str, bytes]
    public: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Sequence[str]) -> SiteKeys:
        """Return the keys of some cells."""
        private = {name: private_key(name) for name in names}
        return cls(private, {name: public_key(key) for name, key in private.items()})

    def seal(self, name: str, site: str = SITE) -> IdentitySeal:
        """Return the seal of a cell; its clock stands still."""
        others = {other: key for other, key in self.public.items() if other != name}
        return IdentitySeal(site, Identity(name, self.private[name], others), lambda: 0.0)


def make_key_files(folder: Path, names: Sequence[str]) -> str:
    """Make the files of some cells; return the table of a configuration, with {name} for the cell."""
    for name in names:
        write_keys(folder, name)
    return f'[authentication]\nkey = "{folder}/{{name}}.key"\ncells = "{folder}"\n'
