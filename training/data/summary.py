"""summary.json: the findings about the photos, for people and for the report. The same photos give the same bytes.

Runs in the processing job. Its fields:

    error          why the job failed, or null; after an error the fields below hold what was known by then
    classes        [name], in the order of the network's outputs
    seed           of the drawn splits
    drawn_splits   the splits that no folder named
    photos         {split: {class: photos used}}
    balance        {"biggest": {"class", "photos"}, "smallest": {…}, "ratio"} of the training photos
    sizes          {"bytes": [least, most], "width": […], "height": […]}, in pixels as decoded: a large JPEG is decoded smaller
    left_out       [{"file", "reason"}]: not usable photos
    excluded       [{"file", "reason"}]: usable, but in no split
    duplicates     {"exact": [[name, …], …], "near": [{"a", "b", "distance"}], "near_pairs": their number,
                    "suspicious": [{"a", "b", "classes": [of a, of b], "distance"}]: a photo under two labels, exact or near}
    warnings       [sentence]
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.contract.photos import SPLITS
from training.data.dataset import SUMMARY, Photo
from training.data.duplicates import MAX_LISTED, Duplicates, NearPair
from training.data.folders import UnusedFile
from training.data.inspection import Inspected

_UNKNOWN = {"valid": "it does not influence which model is chosen", "test": "its accuracy is not measured"}


@dataclass
class Summary:
    """The file's fields, filled as they become known."""

    error: str | None = None
    classes: tuple[str, ...] = ()
    seed: int | None = None
    drawn_splits: tuple[str, ...] = ()
    photos: dict[str, dict[str, int]] = field(default_factory=dict)
    balance: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, list[int]] = field(default_factory=dict)
    left_out: list[dict[str, str]] = field(default_factory=list)
    excluded: list[dict[str, str]] = field(default_factory=list)
    duplicates: dict[str, Any] = field(default_factory=lambda: {"exact": [], "near": [], "near_pairs": 0, "suspicious": []})
    warnings: list[str] = field(default_factory=list)

    def count(self, photos: Iterable[Photo]) -> None:
        """Count the used photos by split and class."""
        counts = Counter((photo.split, photo.label) for photo in photos)
        self.photos = {split: {name: counts[split, label] for label, name in enumerate(self.classes)} for split in SPLITS}
        self.balance = _balance(self.photos["train"])

    def warn_of_gaps(self) -> None:
        """Warn of each class without a photo in valid or test; call this after `count`."""
        for name in self.classes:
            gaps = [split for split in SPLITS[1:] if not self.photos[split][name]]
            if gaps:
                self.warnings.append(
                    f"class {name!r} has no photo in {' and '.join(gaps)}: {' and '.join(_UNKNOWN[split] for split in gaps)}; "
                    "add photos of it that are not copies of others"
                )

    def add_duplicates(self, duplicates: Duplicates) -> None:
        """Add the duplicates, and the photos that are excluded because of them."""
        conflicts = [pair for pair in duplicates.near if pair.labels[0] != pair.labels[1]]
        self.excluded = list_files(duplicates.excluded)
        self.duplicates = {
            "exact": duplicates.exact,
            "near": [_pair(pair) for pair in duplicates.near[:MAX_LISTED]],
            "near_pairs": len(duplicates.near),
            "suspicious": [
                _pair(pair) | {"classes": [self.classes[label] for label in pair.labels]}
                for pair in [*duplicates.contradictions, *conflicts][:MAX_LISTED]
            ],
        }

    def add_sizes(self, inspected: Sequence[Inspected]) -> None:
        """Add the range of the photos' sizes."""
        columns = {
            "bytes": [photo.length for photo in inspected],
            "width": [photo.width for photo in inspected],
            "height": [photo.height for photo in inspected],
        }
        self.sizes = {name: [min(values), max(values)] for name, values in columns.items() if values}

    def write(self, folder: Path) -> None:
        """Write summary.json; names that are not valid Unicode are escaped."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SUMMARY).write_text(f"{json.dumps(asdict(self), indent=1)}\n", encoding="utf-8")


def list_files(left_out: Iterable[UnusedFile]) -> list[dict[str, str]]:
    """Return such files as summary.json lists them."""
    return [{"file": item.name, "reason": item.reason} for item in left_out]


def _pair(pair: NearPair) -> dict[str, Any]:
    return {"a": pair.a, "b": pair.b, "distance": pair.distance}


def _balance(counts: dict[str, int]) -> dict[str, Any]:
    """Compare the biggest class with the smallest."""
    biggest, smallest = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    return {
        "biggest": {"class": biggest, "photos": counts[biggest]},
        "smallest": {"class": smallest, "photos": counts[smallest]},
        "ratio": round(counts[biggest] / max(1, counts[smallest]), 3),
    }
