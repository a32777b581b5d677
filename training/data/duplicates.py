"""Duplicate photos, exact or near, and which photos are excluded from which split because of them.

Runs in the processing job, when all photos have been read.

- The same file under two labels: no copy is used, because it is unknown which label is correct.
- The same file twice under one label: the first is used, in the order train, valid, test and of names.
- Near duplicates: if the folders name the splits, a photo with a near duplicate in an earlier split is excluded, because the evaluation
  would otherwise test memorised photos; if the split is drawn, they are drawn together. Under two labels they are listed as suspicious.

An excluded photo does not exclude others: test is decided after valid.

All pairs are compared: 256 multiplications per pair, which is little compared with the 4 thousand million per photo of the backbone.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest

import numpy as np
import torch

from training.contract.photos import SPLITS
from training.data.fingerprint import MOST_BITS, are_near, count_differing_bits, unpack
from training.data.folders import FoundPhoto, UnusedFile
from training.data.inspection import Inspected

MAX_LISTED = 1000
"""Most near pairs that the summary lists, the closest first."""

_BLOCK = 2048
"""Photos that are compared with as many others at once: 16 MiB of distances."""
_CHUNK = 4096
"""Candidate pairs that are checked at once."""

Previews = Callable[[Sequence[int]], torch.Tensor]
"""Positions of photos -> their previews, uint8 [n, PREVIEW, PREVIEW, 3]."""


@dataclass(frozen=True, order=True, slots=True)
class NearPair:
    """Two different files that look the same."""

    distance: int
    """Bits of their fingerprints that differ."""
    a: str
    b: str
    labels: tuple[int, int]


@dataclass
class Duplicates:
    """The duplicates, and their consequences."""

    excluded: list[UnusedFile] = field(default_factory=list)
    """Usable photos that are in no split."""
    exact: list[list[str]] = field(default_factory=list)
    """Names of the same content."""
    contradictions: list[NearPair] = field(default_factory=list)
    """The same content under two labels, one pair per content."""
    near: list[NearPair] = field(default_factory=list)
    """Enough pairs to connect all near duplicates; not every pair."""
    groups: dict[str, int] = field(default_factory=dict)
    """Photo -> group, of photos that are drawn together."""


def find_duplicates(photos: Sequence[Inspected], previews: Previews) -> Duplicates:
    """Compare every photo with every other."""
    found = Duplicates()
    kept = _settle_copies(photos, found)
    _settle_near(photos, kept, previews, found)
    found.excluded.sort(key=lambda item: item.name)
    found.near = nsmallest(len(found.near), found.near)
    return found


def _settle_copies(photos: Sequence[Inspected], found: Duplicates) -> list[int]:
    """Return the positions of the photos that remain: one of each content."""
    by_content = defaultdict(list)
    for position, item in enumerate(photos):
        by_content[item.sha256].append(position)
    kept = []
    for positions in by_content.values():
        first, *copies = sorted(positions, key=lambda position: (_rank(photos[position].photo), photos[position].photo.name))
        other = next((position for position in copies if photos[position].photo.label != photos[first].photo.label), None)
        if copies:
            found.exact.append(sorted(photos[position].photo.name for position in positions))
        if other is None:
            kept.append(first)
            found.excluded += [_copy(photos[position], photos[first]) for position in copies]
        else:
            found.excluded += [_contradiction(photos[position], photos[first], photos[other]) for position in positions]
            found.contradictions.append(_pair(photos[first], photos[other], 0))
    return sorted(kept)


def _settle_near(photos: Sequence[Inspected], kept: Sequence[int], previews: Previews, found: Duplicates) -> None:
    """Exclude what would leak between splits, and group what is drawn together."""
    search = _Search([photos[position] for position in kept])
    for one, other, distance in search.pairs(lambda rows: previews([kept[row] for row in rows])):
        found.near.append(_pair(photos[kept[one]], photos[kept[other]], distance))
    for later, earlier in sorted(_true_leaks(search.leaks, photos, kept, previews).items()):
        found.excluded.append(_leak(photos[kept[later]], photos[kept[earlier]]))
    roots = search.roots.tolist()
    size = Counter(roots)
    found.groups = {photos[position].photo.name: root for position, root in zip(kept, roots, strict=True) if size[root] > 1}


def _true_leaks(leaks: dict[int, int], photos: Sequence[Inspected], kept: Sequence[int], previews: Previews) -> dict[int, int]:
    """Return leaks from photos that are used; a photo whose near duplicate leaks itself is compared with the rest of its split."""
    doubtful = {later for later, earlier in leaks.items() if earlier in leaks}
    if not doubtful:
        return leaks
    valid = SPLITS.index("valid")
    rest = [row for row, position in enumerate(kept) if row in doubtful or (_rank(photos[position].photo) == valid and row not in leaks)]
    search = _Search([photos[kept[row]] for row in rest])
    for _ in search.pairs(lambda rows: previews([kept[rest[row]] for row in rows])):
        pass  # only the leaks are needed
    again = {rest[later]: rest[earlier] for later, earlier in search.leaks.items()}
    return {later: earlier for later, earlier in leaks.items() if later not in doubtful} | again


class _Search:
    """Near pairs among photos of different content; pairs without new information are skipped, so that frames of a film are not slow."""

    def __init__(self, photos: Sequence[Inspected]) -> None:
        self.roots = np.arange(len(photos))
        """The first photo of each one's group."""
        self.leaks: dict[int, int] = {}
        """Photo of a later split -> one of the earliest split in which it has a near duplicate."""
        self._bits = np.frombuffer(b"".join(photo.bits for photo in photos), dtype=np.uint8).reshape(len(photos), -1)
        self._ranks = np.array([_rank(photo.photo) for photo in photos])
        self._labels = np.array([photo.photo.label for photo in photos])
        self._earliest = self._ranks.copy()
        self._in_conflict = np.zeros(len(photos), dtype=bool)

    def pairs(self, previews: Previews) -> Iterator[tuple[int, int, int]]:
        """Yield (one, other, bits that differ) for near duplicates, one before other."""
        for ones, others, distances in self._find_candidates():
            for start in range(0, len(ones), _CHUNK):
                chunk = slice(start, start + _CHUNK)
                yield from self._settle(ones[chunk], others[chunk], distances[chunk], previews)

    def _find_candidates(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield pairs whose bits nearly agree, block by block."""
        for top in range(0, len(self._bits), _BLOCK):
            rows = unpack(self._bits[top : top + _BLOCK])
            for left in range(top, len(self._bits), _BLOCK):
                distances = count_differing_bits(rows, unpack(self._bits[left : left + _BLOCK]))
                near = distances <= MOST_BITS
                if left == top:
                    near = near.triu(diagonal=1)
                ones, others = near.nonzero(as_tuple=True)
                yield (ones + top).numpy(), (others + left).numpy(), distances[ones, others].int().numpy()

    def _settle(self, ones: np.ndarray, others: np.ndarray, distances: np.ndarray, previews: Previews) -> Iterator[tuple[int, int, int]]:
        news = self._is_news(ones, others)
        ones, others, distances = ones[news], others[news], distances[news]
        if not len(ones):
            return
        bits = unpack(self._bits[ones]), unpack(self._bits[others])
        same = are_near(bits, (previews(ones.tolist()), previews(others.tolist()))).numpy()
        for one, other, distance in zip(ones[same].tolist(), others[same].tolist(), distances[same].tolist(), strict=True):
            if self._is_news(one, other):
                self._learn(one, other)
                yield one, other, distance

    def _is_news(self, one: np.ndarray | int, other: np.ndarray | int) -> np.ndarray:
        """Whether a pair would connect two groups, show a new leak, or show a first conflict of labels."""
        tie = self.roots[one] != self.roots[other]
        rank_of_one, rank_of_other = self._ranks[one], self._ranks[other]
        leak = (rank_of_one < self._earliest[other]) | (rank_of_other < self._earliest[one])
        doubt = (self._labels[one] != self._labels[other]) & ~(self._in_conflict[one] & self._in_conflict[other])
        return np.asarray(tie | leak | doubt)

    def _learn(self, one: int, other: int) -> None:
        first, second = sorted((int(self.roots[one]), int(self.roots[other])))
        if first != second:
            self.roots[self.roots == second] = first
        if self._ranks[one] != self._ranks[other]:
            earlier, later = sorted((one, other), key=lambda position: int(self._ranks[position]))
            if self._ranks[earlier] < self._earliest[later]:
                self.leaks[later], self._earliest[later] = earlier, self._ranks[earlier]
        if self._labels[one] != self._labels[other]:
            self._in_conflict[[one, other]] = True


def _rank(photo: FoundPhoto) -> int:
    """Order of the splits; photos to be drawn come from train."""
    return SPLITS.index(photo.split or "train")


def _pair(one: Inspected, other: Inspected, distance: int) -> NearPair:
    return NearPair(distance, one.photo.name, other.photo.name, (one.photo.label, other.photo.label))


def _copy(copy: Inspected, first: Inspected) -> UnusedFile:
    return UnusedFile(copy.photo.name, f"it is an exact copy of {first.photo.name!r}")


def _contradiction(copy: Inspected, first: Inspected, other: Inspected) -> UnusedFile:
    return UnusedFile(
        copy.photo.name, f"the same file has two labels, as {first.photo.name!r} and as {other.photo.name!r}: keep one of them"
    )


def _leak(later: Inspected, earlier: Inspected) -> UnusedFile:
    return UnusedFile(
        later.photo.name,
        f"it is a near duplicate of {earlier.photo.name!r} in {earlier.photo.split}: {later.photo.split} must not contain it",
    )
