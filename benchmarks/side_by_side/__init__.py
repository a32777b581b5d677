"""Whippet beside other tools on the same photos, split and weights; see `__main__.py` for the command."""

RESULT = "[result] "
"""What the line starts with on which a tool reports how it did."""
