"""Unit tests: no process, no socket. Run: `make test-unit`."""
