"""Tests of the debugger's rules. Run: `make test`."""
