"""The adapters that a cell acted by before the present one, so that it can go back."""

from __future__ import annotations

import os
import re
from pathlib import Path

from networld_runtime.adaptation import load_adapter
from networld_runtime.bundle import Bundle
from networld_runtime.contract import FloatArray
from networld_runtime.errors import DataError
from networld_runtime.files import flush_folder, write_atomically

ADAPTER = "adapter.safetensors"
BY_HAND = "trained.safetensors"
"""What `networld-agent adapt` writes before it is put in use."""
KEPT = 5
NUMBERED = re.compile(r"(\d{6})\.safetensors")


class AdapterHistory:
    """A folder of numbered adapters, the newest last, and the file of the one in use beside it.

    Args:
        folder: The cell's state folder.
    """

    def __init__(self, folder: Path) -> None:
        self.current = folder / ADAPTER
        self._folder = folder / "adapters"

    def files(self) -> list[Path]:
        """Return the files of earlier adapters, the oldest first."""
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if NUMBERED.fullmatch(path.name))

    def replace(self, candidate: Path) -> None:
        """Put a new adapter in use; the one that was in use is kept.

        There is an adapter in use at every moment, whenever the process ends.

        Raises:
            OSError: The disk does not take it; what was in use still is.
        """
        if self.current.exists():
            self._keep(self.current.read_bytes())
        os.replace(candidate, self.current)
        flush_folder(self.current.parent)

    def drop(self) -> None:
        """Use none; the one in use and all before it are gone.

        Raises:
            OSError: A file cannot be removed.
        """
        self.current.unlink(missing_ok=True)
        for path in self.files():
            path.unlink(missing_ok=True)

    def newest(self, bundle: Bundle) -> tuple[FloatArray | None, str]:
        """Return the newest adapter of a bundle, and why newer ones are not taken."""
        objections: list[str] = []
        for path in (self.current, *reversed(self.files())):
            if path.exists():
                try:
                    return load_adapter(path, bundle), "; ".join(objections)
                except DataError as error:
                    objections.append(str(error))
        return None, "; ".join(objections)

    def go_back(self, bundle: Bundle) -> FloatArray | None:
        """Put the adapter before the present one in use and return it; None if there is none of this bundle.

        Adapters of other bundles stay where they are: that bundle may come back.

        Raises:
            OSError: The disk does not take it.
        """
        for path in reversed(self.files()):
            try:
                adapter = load_adapter(path, bundle)
            except DataError:  # damaged, or of another bundle
                continue
            os.replace(path, self.current)
            flush_folder(self.current.parent)
            return adapter
        self.current.unlink(missing_ok=True)
        return None

    def _keep(self, content: bytes) -> None:
        files = self.files()
        number = 1 + int(files[-1].stem) if files else 1
        self._folder.mkdir(exist_ok=True)
        write_atomically(self._folder / f"{number:06d}.safetensors", content)
        for path in self.files()[:-KEPT]:
            path.unlink(missing_ok=True)
