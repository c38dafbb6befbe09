"""Write the table of docs/configuration.md from the keys that the base station knows."""

from __future__ import annotations

import re
from pathlib import Path

from networld_runtime.config_keys import keys_table

PAGE = Path(__file__).parent / "configuration.md"
SECTION = re.compile(r"(<!-- keys[^>]*-->\n).*?(<!-- keys end -->)", re.DOTALL)


def updated_page() -> str:
    """Return docs/configuration.md with the table of all keys."""
    return SECTION.sub(lambda found: f"{found[1]}\n{keys_table()}\n\n{found[2]}", PAGE.read_text())


if __name__ == "__main__":
    PAGE.write_text(updated_page())
