"""Reports of training jobs: the files that AssessModel reads, as a training job writes them. Used by the tests beside it."""

import json
from collections.abc import Sequence
from typing import Any

from tests.training.documents import evaluation as evaluation_of_five

BUCKET = "bucket"
CLASSES = ("daisy", "rose", "tulip")
HASHES = {"data_sha256": "da" * 32, "weights_sha256": "3e" * 32, "code_sha256": "c0" * 32}


def folder_of(run: str) -> str:
    """What the final training job of an execution left."""
    return f"s3://{BUCKET}/executions/{run}/training/{run}-train-00000001"


def key(run: str, name: str) -> str:
    return f"executions/{run}/training/{run}-train-00000001/report/{name}.json"


def evaluation(**more: Any) -> dict[str, Any]:
    """evaluation.json of a model that is right 9 times of 10."""
    return {**evaluation_of_five(), "test_loss": 0.31, "valid_loss": 0.29, **more}


def predictions(shown: Sequence[int], called: Sequence[int], classes: Sequence[str] = CLASSES, first: int = 0) -> dict[str, Any]:
    """test_predictions.json of photos that are numbered from `first`."""
    digests = [f"{first + number:064x}" for number in range(len(shown))]
    return {
        "schema_version": 1,
        "classes": list(classes),
        "photos": len(shown),
        "sha256": digests,
        "shown": list(shown),
        "called": list(called),
    }


def written(run: str, **documents: Any) -> dict[str, bytes]:
    """The files of a report; what is not given is as a sound job writes it, and what is None is missing."""
    sound = {"evaluation": evaluation(), "model": {"hashes": HASHES}, "rule_statuses": [], "profiler_rule_statuses": []}
    contents = {**sound, "test_predictions": predictions([0, 1, 2], [0, 1, 2]), **documents}
    return {key(run, name): as_bytes(content) for name, content in contents.items() if content is not None}


def as_bytes(content: Any) -> bytes:
    return content if isinstance(content, bytes) else json.dumps(content).encode()
