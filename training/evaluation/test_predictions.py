"""The final model's prediction for each test photo: a later execution uses it to compare its own model on the same photos.

Runs in the final training job. `report/test_predictions.json` holds it; test_predictions.schema.json here, which is not
shipped with the code, describes it. Photos are identified by their content, so a copy with another name or prefix is the same photo.
"""

from collections.abc import Sequence
from heapq import nsmallest
from typing import Any

from training.data.dataset import Dataset

SCHEMA_VERSION = 1

MOST_PHOTOS = 100_000
"""Most listed photos: 8 MB. If there are more, those with the smallest sha256, so that two reports list the same ones."""


def to_json(dataset: Dataset, predicted: Sequence[int], most: int = MOST_PHOTOS) -> dict[str, Any]:
    """Return the content of report/test_predictions.json: columns, because a list of objects would be three times as long.

    Args:
        dataset: the prepared data set.
        predicted: index of the most probable class of each test photo, in manifest order.
    """
    photos = dataset.split("test")
    rows = [(photo.sha256, photo.label, index) for photo, index in zip(photos, predicted, strict=True)]
    listed = nsmallest(most, rows)
    return {
        "schema_version": SCHEMA_VERSION,
        "classes": list(dataset.classes),
        "photos": len(rows),
        "sha256": [digest for digest, _, _ in listed],
        "shown": [label for _, label, _ in listed],
        "called": [index for _, _, index in listed],
    }
