"""What the model registry keeps of a model: the figures and the origin as CustomerMetadataProperties, and one sentence.

Runs inside AssessModel; the state RegisterModel sends it on. SageMaker takes 50 entries at most, values of 1 to 256 letters, digits, spaces
and `_.:/=+-@`, and a description of up to 1,024 characters without control characters.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any

from lambdas.assessment.evaluation import Evaluation
from lambdas.assessment.report_files import REPORT

MOST_VALUE = 256
MOST_DESCRIPTION = 1024
MARKS = "_.:/=+-@"
GIVEN = ("run", "project", "tuning_job", "dataset", "photos_sha256")
"""Keys of AssessModel's event that are kept as they are; what the event leaves out is left out."""


def metadata(event: Mapping[str, Any], evaluation: Evaluation | None, hashes: Mapping[str, str], version: str) -> dict[str, str]:
    """Where the model comes from and what it reached; `version`: the champion's that it was compared with, empty where it was not."""
    folder = event["folder"]
    entries = {key: event.get(key) for key in GIVEN}
    entries |= {"training_job": folder.rpartition("/")[2], "report": f"{folder}/{REPORT}/", "champion_version": version, **hashes}
    if evaluation:
        entries |= {name: f"{value:.6g}" for name, value in evaluation.metrics.items()}
        entries["classes"] = str(len(evaluation.classes))
    return {key: accepted(str(value)) for key, value in entries.items() if value}


def description(event: Mapping[str, Any], evaluation: Evaluation | None, compared: str) -> str:
    """One sentence; `compared`: how the model does beside the champion, empty where it was not compared."""
    if evaluation is None:
        said = "The report of its training job says nothing of its accuracy"
    else:
        said = f"Accuracy {evaluation.accuracy:.3f} on {evaluation.photos} test photos of {len(evaluation.classes)} classes"
    run = f", made by execution {event['run']}" if event.get("run") else ""
    sentence = f"{said}{run}{f'; {compared}' if compared else ''}."
    return "".join(each if unicodedata.category(each)[0] != "C" else " " for each in sentence)[:MOST_DESCRIPTION]


def accepted(value: str) -> str:
    """The text with a hyphen in the place of every character that SageMaker refuses, and no longer than it takes."""
    return "".join(each if each in MARKS or unicodedata.category(each)[0] in "LZN" else "-" for each in value)[:MOST_VALUE]
