"""Assigns each photo to train, valid or test: as the folders say, or drawn if they do not.

Runs in the processing job. A drawn split takes 15 % of each class for valid and 15 % for test. The draw depends on a photo's name
and the seed, so that adding photos moves few others; near duplicates are drawn together. If a class would then have no photo in a split,
a group larger than the class's share is moved there.
"""

import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol

from training.contract.photos import SPLITS
from training.job.failure import InputRefusedError

SHARE = 0.15
"""Part of each class that is drawn for valid, and for test."""


class Splittable(Protocol):
    """The attributes that a split depends on."""

    @property
    def name(self) -> str:
        """Path relative to the photos channel."""

    @property
    def label(self) -> int:
        """Index into the classes."""

    @property
    def split(self) -> str | None:
        """Split that the folders name."""


def find_missing_splits(photos: Sequence[Splittable]) -> tuple[str, ...]:
    """Return the splits to draw: those that no folder names. If folders name splits, they name train."""
    named = {photo.split for photo in photos}
    return tuple(split for split in SPLITS[1:] if split not in named)


def draw_splits(
    photos: Sequence[Splittable], missing: Sequence[str], classes: Sequence[str], seed: int, groups: Mapping[str, Hashable]
) -> list[str]:
    """Return the split of each photo; of those for training, some are drawn for each missing split, class by class.

    `groups` maps names to groups; photos of one group stay together.

    Raises:
        InputRefusedError: a class has too few photos.
    """
    pool = [photo for photo in photos if photo.split in (None, "train")]
    counts = Counter(photo.label for photo in pool)
    _refuse_small_classes(counts, missing, classes)
    groups_drawn = _in_drawn_order(pool, seed, groups)
    room = {split: {label: max(1, round(SHARE * count)) for label, count in counts.items()} for split in missing}
    drawn: dict[str, str] = {}
    for members in groups_drawn:
        needed = Counter(photo.label for photo in members)
        split = next((split for split in missing if all(room[split][label] >= count for label, count in needed.items())), "train")
        for label, count in needed.items() if split in room else ():
            room[split][label] -= count
        drawn.update((photo.name, split) for photo in members)
    for split in missing:
        _fill_gaps(split, groups_drawn, drawn)
    return [drawn.get(photo.name) or str(photo.split) for photo in photos]


def _fill_gaps(split: str, groups: Sequence[Sequence[Splittable]], drawn: dict[str, str]) -> None:
    """For each class without a photo in the split, move the smallest group there that leaves train a photo of each class."""
    here = Counter(photo.label for members in groups for photo in members if drawn[photo.name] == split)
    learnt = Counter(photo.label for members in groups for photo in members if drawn[photo.name] == "train")
    from_the_smallest = sorted(groups, key=len)  # of the same size, the first drawn
    for label in sorted(learnt):
        if here[label]:
            continue
        for members in from_the_smallest:
            counts = Counter(photo.label for photo in members)
            if label in counts and drawn[members[0].name] == "train" and all(learnt[own] > count for own, count in counts.items()):
                drawn.update((photo.name, split) for photo in members)
                here, learnt = here + counts, learnt - counts
                break


def _refuse_small_classes(counts: Mapping[int, int], missing: Sequence[str], classes: Sequence[str]) -> None:
    least = 1 + len(missing)
    for label, name in enumerate(classes):
        if counts.get(label, 0) < least:
            raise InputRefusedError(
                f"class {name!r} has {counts.get(label, 0)} usable photos for training; at least {least} are needed"
                + (f" to make {' and '.join(missing)}" if missing else "")
                + ". Add photos of it, or remove its folder; summary.json lists each unused file with the reason"
            )


def _in_drawn_order(pool: Sequence[Splittable], seed: int, groups: Mapping[str, Hashable]) -> list[list[Splittable]]:
    """Return the groups in an order that the seed and their first names determine."""
    members: dict[Hashable, list[Splittable]] = {}
    for photo in sorted(pool, key=lambda photo: photo.name):
        members.setdefault(groups.get(photo.name, (photo.name,)), []).append(photo)
    return sorted(members.values(), key=lambda group: _draw(group[0].name, seed))


def _draw(name: str, seed: int) -> str:
    """Return a number that depends only on the photo's name and the seed."""
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).hexdigest()
