"""One synthesis of each configuration for these tests."""

from tests.fixtures.stacks.synthesis import synthesis, variation

__all__ = ["synthesis", "variation"]
