"""Functional tests of the verbs."""
