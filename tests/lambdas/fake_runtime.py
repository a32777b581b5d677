"""A SageMaker runtime that answers as it is told, and requests as API Gateway hands them over."""

import base64
import io
import json
from typing import Any

ANSWER = {"class": "rook", "probability": 0.93, "predictions": [{"class": "rook", "probability": 0.93}], "model": "whippet-1"}

PHOTO = bytes(range(256))


class FakeRuntime:
    """InvokeEndpoint, answering once with bytes or an error."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = json.dumps(ANSWER).encode() if answer is None else answer
        self.asked: list[dict[str, Any]] = []

    def invoke_endpoint(self, **arguments: Any) -> dict[str, Any]:
        self.asked.append(arguments)
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"Body": io.BytesIO(self.answer)}


def request(body: bytes = PHOTO, content_type: str | None = "image/jpeg", header: str = "content-type") -> dict[str, Any]:
    headers = {} if content_type is None else {header: content_type}
    return {"headers": headers, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
