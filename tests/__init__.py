"""Tests, in tiers and in folders that mirror the rooms. Run: `make test-unit`, `make test`, `make test-all`."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
"""The checkout that is tested."""
