"""Bundles on a base station: signed, checked, tried, and taken back if they are no good."""
