"""Tests, in folders that mirror the rooms. Run: `make test`."""
