"""Functional tests: fakes, subprocesses, loopback. Run: `make test`."""
