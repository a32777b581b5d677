"""An API on this machine for the verbs that call it."""

from tests.fixtures.cli.api import api, server

__all__ = ["api", "server"]
