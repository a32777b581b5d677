"""A SageMaker plane that answers from a script."""

import json
from collections.abc import Mapping
from typing import Any

from local.engine.plane_client import Answer, PlaneClient


class ScriptedPlane(PlaneClient):
    """Answers each operation with the next of its answers, an exception or (status, document); keeps what was called."""

    def __init__(self, **answers: list[Any]) -> None:
        super().__init__(lambda: "http://127.0.0.1:1")
        self.answers = answers
        self.called: list[str] = []

    def call(self, operation: str, request: Mapping[str, Any]) -> Answer:
        self.called.append(operation)
        answer = self.answers[operation].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer[0], {}, json.dumps(answer[1]).encode())
