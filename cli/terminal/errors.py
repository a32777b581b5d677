"""The one error of the command line that is meant for the user: a sentence that says what is wrong and what to do. Used by every verb."""


class RefusedError(Exception):
    """What is wrong, the value got, the values allowed, and what to change; shown without a traceback, exit status 1."""
