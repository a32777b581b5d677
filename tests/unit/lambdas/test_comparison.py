"""Two models on the photos that both were tested on, counted beside a plain loop; and files that no training job writes."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.assessment.comparison import Comparison, Predictions, compare, read_predictions
from lambdas.assessment.paired_accuracy import Pairs
from lambdas.assessment.report_files import MOST_BYTES, DocumentError
from tests.fixtures.lambdas.fake_s3 import FakeS3
from tests.fixtures.lambdas.reports import CLASSES, folder_of, key, predictions, written

RUN = "run"


def read(content: Any) -> Predictions:
    return read_predictions(FakeS3(written(RUN, test_predictions=content)), folder_of(RUN))


def compared(new: dict[str, Any], champion: dict[str, Any]) -> Comparison:
    return compare(read(new), read(champion))


def test_only_photos_of_both_test_sets_count() -> None:
    """The data set has grown by ten photos, and another ten of the champion's test photos are for training now."""
    new, champion = predictions([0] * 30, [0] * 30, first=10), predictions([0] * 30, [1] * 30)
    got = compared(new, champion)
    assert got.pairs == Pairs(photos=20, right=20, gained=20, lost=0)
    assert got.by_class == {"daisy": got.pairs}


def test_every_photo_is_counted_once_where_it_belongs() -> None:
    draw = random.Random(1)
    shown, new, old = ([draw.randrange(3) for _ in range(200)] for _ in range(3))
    got = compared(predictions(shown, new), predictions(shown, old))
    for name, which in (("all", range(3)), *((name, (number,)) for number, name in enumerate(CLASSES))):
        rows = [row for row in zip(shown, new, old, strict=True) if row[0] in which]
        expected = Pairs(
            photos=len(rows),
            right=sum(is_ == now for is_, now, _ in rows),
            gained=sum(is_ == now != before for is_, now, before in rows),
            lost=sum(is_ == before != now for is_, now, before in rows),
        )
        assert (got.pairs if name == "all" else got.by_class[name]) == expected


def test_the_order_of_the_classes_does_not_matter_but_their_names_do() -> None:
    turned = predictions([2, 1, 0], [2, 1, 1], classes=CLASSES[::-1])
    got = compared(predictions([0, 1, 2], [0, 1, 2]), turned)
    assert (got.pairs, got.relabelled) == (Pairs(photos=3, right=3, gained=1, lost=0), 0)
    assert (got.added, got.removed) == ((), ())


def test_photos_of_other_classes_are_left_out() -> None:
    """Photo 1 was called a rose when the champion was tested, and shows a tulip now; the new model may call a daisy a violet, wrongly."""
    new = predictions([0, 2, 2], [3, 2, 2], classes=(*CLASSES, "violet"))
    got = compared(new, predictions([0, 1, 2], [0, 1, 2], classes=(*CLASSES, "aster")))
    assert (got.pairs, got.relabelled) == (Pairs(photos=2, right=1, gained=0, lost=1), 1)
    assert (got.added, got.removed) == (("violet",), ("aster",))


def test_nothing_in_common_is_no_photo() -> None:
    got = compared(predictions([0], [0]), predictions([0], [0], first=1))
    assert (got.pairs.photos, got.by_class) == (0, {})


SOUND = predictions([0, 1, 2], [0, 1, 1])


@pytest.mark.parametrize(
    "content",
    [
        *[None, 5, [], {}, "text", {**SOUND, "schema_version": 2}, {**SOUND, "classes": None}, {**SOUND, "classes": ["a", "a", "b"]}],
        *[{**SOUND, "shown": [0, 1]}, {**SOUND, "called": [0, 1, 3]}, {**SOUND, "called": [0, 1, -1]}, {**SOUND, "called": [0, 1, True]}],
        *[{**SOUND, "sha256": [1, 2, 3]}, {**SOUND, "sha256": None}, {**SOUND, "shown": [0, 1, None]}, b"{", b"\xff", b"[" * 100_000],
    ],
)
def test_what_no_training_job_writes_is_not_believed(content: Any) -> None:
    with pytest.raises(DocumentError, match=r"report/test_predictions.json is (damaged|missing)"):
        read(content)


def test_a_file_that_is_longer_than_any_is_not_parsed() -> None:
    with pytest.raises(DocumentError, match="longer than 33,554,432 bytes"):
        read(b" " * (MOST_BYTES + 1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*SOUND, "other"]), inner, max_size=6),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional={name: JSON | st.just(SOUND[name]) for name in SOUND}) | JSON)
def test_nothing_that_json_can_say_is_more_than_damaged(content: Any) -> None:
    try:
        got = read_predictions(FakeS3({key(RUN, "test_predictions"): json.dumps(content).encode()}), folder_of(RUN))
    except DocumentError:
        return
    assert len(got.photos) <= len(content["sha256"])
