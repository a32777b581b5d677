"""Parts of a prepared data set: some of its classes and photos, also at a smaller size, as a data set of their own.

Used by the modules beside it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import torch

from training.contract.photos import SPLITS
from training.data.dataset import Dataset, Features, Photo
from training.data.features import choose_processor, forward
from training.data.preprocessing import Preprocessing
from training.fit.examples import DecodedPhotos
from training.network.resnet50 import load_backbone

AT_ONCE = 16


@dataclass(frozen=True)
class Part(Dataset):
    """A data set whose features are held in memory."""

    held: Mapping[str, Features] = field(default_factory=dict)
    """Split -> features, in the order of its photos."""

    def features(self, split: str) -> Features:
        """Return those of one split."""
        return self.held[split]


def part_of(dataset: Dataset, classes: Sequence[int], most: Mapping[str, Sequence[int]] | None = None) -> Part:
    """Return the photos of some classes, which are numbered anew in this order.

    Args:
        dataset: the whole.
        classes: which of its classes.
        most: split -> how many photos of each of these classes at most; the first ones by name.
    """
    new = {label: number for number, label in enumerate(classes)}
    taken: Counter[tuple[str, int]] = Counter()
    photos: list[Photo] = []
    rows: dict[str, list[int]] = {split: [] for split in SPLITS}
    seen: Counter[str] = Counter()
    for photo in dataset.photos:
        row, label = seen[photo.split], new.get(photo.label)
        seen[photo.split] += 1
        limit = (most or {}).get(photo.split)
        if label is None or (limit and taken[photo.split, label] >= limit[label]):
            continue
        taken[photo.split, label] += 1
        photos.append(replace(photo, label=label))
        rows[photo.split].append(row)
    labels = {split: torch.tensor([photo.label for photo in photos if photo.split == split]) for split in SPLITS}
    held = {split: Features(dataset.features(split).values[rows[split]], labels[split]) for split in ("train", "valid")}
    description = replace(dataset.description, classes=tuple(dataset.classes[label] for label in classes))
    return Part(dataset.folder, description, tuple(photos), held)


def shrunk(part: Part, photos: Path, weights: Path, preprocessing: Preprocessing) -> Part:
    """Return the same photos seen through another preprocessing, with features of that size; `photos`: where the files are."""
    backbone, _ = load_backbone(weights)
    processor = choose_processor()
    backbone = backbone.to(processor.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    held = {}
    for split, before in part.held.items():
        examples = DecodedPhotos(photos, part.split(split), preprocessing)
        batches = examples.batches(torch.split(torch.arange(len(before.labels)), AT_ONCE), epoch=0)
        held[split] = Features(torch.cat([forward(backbone, squares, preprocessing, processor) for squares in batches]), before.labels)
    description = replace(part.description, preprocessing=preprocessing.to_json())
    return Part(**{each.name: getattr(part, each.name) for each in fields(part)} | {"description": description, "held": held})
