"""Judging policies on the same drops: heuristics, and bundles through the base station's own code."""
