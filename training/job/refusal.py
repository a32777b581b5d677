"""The one error that means "this input cannot be used": its text is a sentence for the person who sent the input.

Runs in training and processing jobs. The sentence becomes the job's FailureReason: SageMaker reads it from the failure file, and the
training toolkit leaves a failure file alone that is already there.
"""

from pathlib import Path


class InputRefusedError(ValueError):
    """What is wrong, the value got, the values allowed, what to change."""


def write_failure(file: Path, sentence: str) -> None:
    """Write the job's failure file; SageMaker shows its first 1,024 bytes, and no half character is among them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shown = sentence.encode("utf-8", "replace")[:1024].decode("utf-8", "ignore")
    file.write_text(shown, encoding="utf-8")
