"""The interval of a paired difference: McNemar's test at 0, the likelihood's own maximum, and how often it covers the truth."""

from itertools import product
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

from lambdas.assessment.paired_accuracy import Pairs


def pairs(photos: int, gained: int, lost: int) -> Pairs:
    return Pairs(photos, right=(photos - lost + gained) // 2, gained=gained, lost=lost)


@st.composite
def any_pairs(draw: st.DrawFn) -> Pairs:
    photos = draw(st.integers(1, 5000))
    gained = draw(st.integers(0, photos))
    lost = draw(st.integers(0, photos - gained))
    both = draw(st.integers(0, photos - gained - lost))
    return Pairs(photos, right=both + gained, gained=gained, lost=lost)


def test_accuracies_are_counted_from_the_pairs() -> None:
    """8 photos: 4 right by both, 2 by the new one alone, 1 by the champion alone, 1 by none."""
    got = Pairs(photos=8, right=6, gained=2, lost=1)
    assert (got.accuracy, got.champion_accuracy, got.difference) == (6 / 8, 5 / 8, 1 / 8)


@given(any_pairs(), st.sampled_from([0.9, 0.95, 0.999]))
def test_the_interval_holds_what_was_seen_and_mirrors(got: Pairs, confidence: float) -> None:
    low, high = got.interval(confidence)
    assert -1 <= low <= got.difference + 1e-9
    assert got.difference - 1e-9 <= high <= 1
    mirrored = Pairs(got.photos, got.right - got.gained + got.lost, gained=got.lost, lost=got.gained).interval(confidence)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


@given(any_pairs().filter(lambda got: got.gained + got.lost > 0))
def test_it_leaves_nought_out_exactly_where_mcnemars_test_is_significant(got: Pairs) -> None:
    statistic = (got.gained - got.lost) / sqrt(got.gained + got.lost)
    quantile = NormalDist().inv_cdf(0.975)
    if abs(abs(statistic) - quantile) > 1e-6:
        low, high = got.interval()
        assert (low > 0 or high < 0) == (abs(statistic) > quantile)


@pytest.mark.parametrize("photos", [1, 44, 300, 10_000])
def test_without_a_difference_it_is_as_wide_as_so_few_photos_make_it(photos: int) -> None:
    """Tango's paper has this case in closed form: from and to are the squared quantile of photos and squared quantile."""
    square = NormalDist().inv_cdf(0.975) ** 2
    half = square / (photos + square)
    assert pairs(photos, 0, 0).interval() == pytest.approx((-half, half))


@pytest.mark.parametrize(("gained", "lost"), [(12, 2), (2, 12), (7, 7), (0, 5), (20, 0)])
@pytest.mark.parametrize("difference", [-0.3, -0.05, 0.0, 0.08, 0.4])
def test_the_score_takes_the_likeliest_rate(gained: int, lost: int, difference: float) -> None:
    """The quadratic equation against a search for the rate that maximises the likelihood of the three counts."""
    photos, rest = 50, 50 - gained - lost
    least, most = max(0.0, -difference), (1 - difference) / 2

    def unlikely(rate: float) -> float:
        counts = ((gained, rate + difference), (lost, rate), (rest, 1 - 2 * rate - difference))
        return -float(sum(count * np.log(max(part, 1e-300)) for count, part in counts))

    rate = minimize_scalar(unlikely, bounds=(least, most), method="bounded", options={"xatol": 1e-12}).x
    expected = (gained - lost - photos * difference) / sqrt(photos * (2 * rate + difference - difference**2))
    assert pairs(photos, gained, lost).score(difference) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("photos", "gain", "loss"),
    [(30, 0.05, 0.05), (30, 0.1, 0.2), (60, 0.02, 0.02), (100, 0.03, 0.06), (300, 0.01, 0.04), (300, 0.05, 0.05), (2000, 0.02, 0.01)],
)
def test_it_covers_the_truth_95_times_in_100(photos: int, gain: float, loss: float) -> None:
    """40,000 simulated pairs of models a row."""
    inside = [low <= gain - loss <= high for low, high in (pairs(photos, *counts).interval() for counts in outcomes(photos, gain, loss))]
    covered = sum(part for part, covers in zip(outcomes(photos, gain, loss).values(), inside, strict=True) if covers)
    assert 0.935 < covered < 0.985


def outcomes(photos: int, gain: float, loss: float) -> dict[tuple[int, int], float]:
    """Counts of gained and lost photos -> the part of 40,000 simulated pairs of models in which they come up."""
    drawn = np.random.default_rng(0).multinomial(photos, [gain, loss, 1 - gain - loss], size=40_000)[:, :2]
    seen, times = np.unique(drawn, axis=0, return_counts=True)
    return {(int(gained), int(lost)): float(count) / 40_000 for (gained, lost), count in zip(seen, times, strict=True)}


def called_worse(photos: int, gain: float, loss: float) -> float:
    """How often the interval lies below 0."""
    return sum(part for counts, part in outcomes(photos, gain, loss).items() if pairs(photos, *counts).interval()[1] < 0)


def test_a_model_that_is_as_good_is_rarely_called_worse() -> None:
    """Either side of a 95 % interval has 2.5 % of the misses."""
    assert 0.01 < called_worse(300, 0.04, 0.04) < 0.035


def test_a_model_that_is_far_worse_is_called_so() -> None:
    assert called_worse(300, 0.02, 0.08) > 0.9


def test_no_counts_are_beyond_it() -> None:
    for photos, gained in product((1, 2, 3), range(4)):
        for lost in range(photos - gained + 1):
            low, high = pairs(photos, gained, lost).interval()
            assert -1 <= low <= high <= 1
