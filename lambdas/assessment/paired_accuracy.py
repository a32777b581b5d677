"""Two models that were shown the same photos: how far apart their accuracies are, and how sure that is.

Runs inside AssessModel; standard library only. Photos that both models name rightly, or both wrongly, say nothing of which is better. What
counts are the others: `gained`, those that only the new model names rightly, and `lost`, those that only the champion does. The difference
of the accuracies is (gained - lost) / photos. Compared in this way a test set tells far more than two accuracies beside one another, whose
errors are mostly on the same photos.

The interval is Tango's score interval for a difference of paired proportions (Statistics in Medicine 17, 1998): all differences that a
score test does not reject. At a difference of 0 that test is McNemar's without continuity correction, so the interval leaves 0 out exactly
where McNemar's test is significant. It stays honest where few photos differ, and where none does it is not of width 0, as that of the
textbook formula would be. tests/unit/lambdas/test_paired_accuracy.py holds how often it covers the truth against simulated models.
"""

from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95

STEPS = 60
"""Halvings of the range in which an end of the interval lies: more than a float can tell apart."""


@dataclass(frozen=True)
class Pairs:
    """How two models did on the same photos."""

    photos: int
    right: int
    """Photos that the new model names rightly."""
    gained: int
    """Photos that it alone names rightly."""
    lost: int
    """Photos that the champion alone names rightly."""

    @property
    def accuracy(self) -> float:
        """The new model's."""
        return self.right / self.photos

    @property
    def champion_accuracy(self) -> float:
        """The champion's."""
        return (self.right - self.gained + self.lost) / self.photos

    @property
    def difference(self) -> float:
        """The new model's accuracy without the champion's."""
        return (self.gained - self.lost) / self.photos

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Tango's interval of the difference, from and to."""
        quantile = NormalDist().inv_cdf((1 + confidence) / 2)
        return self._end(quantile, -1.0), self._end(-quantile, 1.0)

    def score(self, difference: float) -> float:
        """How many standard errors what was seen lies above a true difference; where that makes it impossible, infinitely many.

        The standard error needs the likeliest rate of `lost` photos under that difference: the root of a quadratic equation.
        """
        a = 2 * self.photos
        b = (a - self.gained + self.lost) * difference - self.gained - self.lost
        c = -self.lost * difference * (1 - difference)
        rate = (sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        above = self.gained - self.lost - self.photos * difference
        variance = self.photos * (2 * rate + difference * (1 - difference))
        return above / sqrt(variance) if variance > 0 else inf * above if above else 0.0

    def _end(self, quantile: float, outermost: float) -> float:
        """The difference, between what was seen and -1 or 1, at which the score is the quantile: it falls from one end to the other."""
        inside, outside = self.difference, outermost
        for _ in range(STEPS):
            middle = (inside + outside) / 2
            if abs(self.score(middle)) < abs(quantile):
                inside = middle
            else:
                outside = middle
        return (inside + outside) / 2
