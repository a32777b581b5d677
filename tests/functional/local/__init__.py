"""Functional tests of local mode."""
