"""The error for an input that cannot be used, and the failure file. The text is a sentence for the person who sent the input.

Runs in training and processing jobs. SageMaker reads the job's FailureReason from the failure file; the training toolkit does not
overwrite an existing one.
"""

from pathlib import Path


class InputRefusedError(ValueError):
    """An input cannot be used; the text names what is wrong, the value, the allowed values and what to change."""


def write_failure(file: Path, sentence: str) -> None:
    """Write the job's failure file; SageMaker shows its first 1,024 bytes, which end with a whole character."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shown = sentence.encode("utf-8", "replace")[:1024].decode("utf-8", "ignore")
    file.write_text(shown, encoding="utf-8")
