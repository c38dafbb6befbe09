"""Set before anything is imported: no telemetry, and one thread each, since tests run side by side."""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
