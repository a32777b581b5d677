"""The command line's error for the user: one sentence with the problem and the fix. Used by every verb."""


class RefusedError(Exception):
    """The problem, the value got, the values allowed, and what to change; printed without a traceback, exit status 1."""
