"""Unit tests of the stack and its state machine."""
