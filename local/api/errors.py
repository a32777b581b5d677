"""The errors that SageMaker's API answers with. Raised in the SageMaker plane, which sends them in AWS's wire format."""

from collections.abc import Mapping
from typing import Any


class ServiceError(Exception):
    """An error answer of the service: `code` as AWS names it, a message, the HTTP status, further members of the answer."""

    def __init__(self, code: str, message: str, status: int = 400, members: Mapping[str, Any] | None = None) -> None:
        """Answer with `code` and `message`."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = dict(members or {})


def validation_error(message: str) -> ServiceError:
    """Make a ValidationException, AWS's answer to an invalid request."""
    return ServiceError("ValidationException", message)
