"""What the final model called each test photo: what a later execution needs to compare its own model on the very same photos.

Runs in the final training job. `report/test_predictions.json` holds it; test_predictions.schema.json here, which does
not travel with the code, describes it. The photos are known by their content, so a copy under another name or prefix is the same photo.
"""

from collections.abc import Sequence
from heapq import nsmallest
from typing import Any

from training.data.dataset import Dataset

SCHEMA_VERSION = 1

MOST_PHOTOS = 100_000
"""Most photos that are listed: 8 MB. Of more, those whose sha256 is smallest, so that two reports of the same photos list the same ones."""


def to_json(dataset: Dataset, called: Sequence[int], most: int = MOST_PHOTOS) -> dict[str, Any]:
    """Return what report/test_predictions.json holds: columns, for a list of objects would be three times as long.

    Args:
        dataset: the prepared data set.
        called: index of the most probable class of each test photo, in manifest order.
    """
    photos = dataset.split("test")
    rows = [(photo.sha256, photo.label, index) for photo, index in zip(photos, called, strict=True)]
    listed = nsmallest(most, rows)
    return {
        "schema_version": SCHEMA_VERSION,
        "classes": list(dataset.classes),
        "photos": len(rows),
        "sha256": [digest for digest, _, _ in listed],
        "shown": [label for _, label, _ in listed],
        "called": [index for _, _, index in listed],
    }
