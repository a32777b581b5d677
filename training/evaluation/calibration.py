"""Calibration: how well probabilities match accuracy, and the temperature that corrects them.

Runs in training jobs. A temperature divides all logits by one number (Guo et al. 2017, https://arxiv.org/abs/1706.04599): it never changes
which class is the most probable, and is fitted on the validation photos, never on the test photos. If few of them are misclassified, the
fit alone would make the model overconfident: a prior holds the temperature near 1, more strongly the fewer photos there are.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

BINS = 15
"""Bins of equal width that confidences from 0 to 1 are put into."""
TEMPERATURES = (0.25, 4.0)
"""Range of the temperature: values outside describe the validation split rather than the model."""
MIN_PHOTOS = 20
"""With fewer validation photos the temperature stays 1, because it would be fitted to noise."""
MIN_ERRORS = 5
"""With fewer misclassified validation photos the temperature is at least 1: only errors show that a model is not underconfident."""
PRIOR_PHOTOS = 4.0
"""Weight of the prior in photos: at 1 it is as strong as a standard deviation of one half for the logarithm of the temperature."""

_GOLDEN = (math.sqrt(5) - 1) / 2
_STEPS = 40
"""Steps of the search; each narrows the range to 0.62 of it: 40 leave one part in 10⁸."""


@dataclass(frozen=True)
class Bin:
    """The photos whose highest probability is in one range."""

    low: float
    """Above this (the first bin also holds 0)."""
    high: float
    """And up to this."""
    photos: int
    confidence: float | None
    """Mean of the highest probabilities; None without photos."""
    accuracy: float | None
    """Fraction of the photos whose most probable class is correct; None without photos."""


@dataclass(frozen=True)
class Calibration:
    """How well confidences and accuracies agree."""

    error: float
    """Expected calibration error: mean distance of confidence and accuracy, each bin weighted by its photos."""
    bins: tuple[Bin, ...]
    """BINS of them, from the least confident."""


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the temperature within TEMPERATURES at which the penalised loss of float [n, classes] is lowest; 1 for few photos.

    The loss has one minimum over the logarithm of the temperature, which a golden-section search finds without randomness.
    """
    if len(labels) < MIN_PHOTOS:
        return 1.0
    errors = int((logits.argmax(dim=1) != labels).sum())
    least, most = TEMPERATURES
    return _find_lowest(logits.double(), labels, 1.0 if errors < MIN_ERRORS else least, most)


def penalised_loss(logits: torch.Tensor, labels: torch.Tensor, temperature: float) -> float:
    """Return the summed cross entropy of float [n, classes] at a temperature, and the penalty for one that is not 1.

    Both are convex in the factor 1 / temperature; the penalty is that of a Gamma distribution with its mode at the factor 1.
    """
    factor = 1 / temperature
    loss = cross_entropy(logits * factor, labels, reduction="sum").item()
    return loss + PRIOR_PHOTOS * (factor - 1 - math.log(factor))


def _find_lowest(logits: torch.Tensor, labels: torch.Tensor, least: float, most: float) -> float:
    """Return the temperature of the lowest penalised loss within a range."""

    def loss(logarithm: float) -> float:
        return penalised_loss(logits, labels, math.exp(logarithm))

    low, high = math.log(least), math.log(most)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return math.exp((low + high) / 2)


def measure_calibration(probabilities: torch.Tensor, labels: torch.Tensor) -> Calibration:
    """Put float [n, classes], n at least 1, into bins by the probability of the most probable class."""
    confidence, predicted = probabilities.double().max(dim=1)
    correct = (predicted == labels).double()
    index = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    photos = torch.bincount(index, minlength=BINS)
    confidences = torch.bincount(index, weights=confidence, minlength=BINS)
    rights = torch.bincount(index, weights=correct, minlength=BINS)
    error = (confidences - rights).abs().sum().item() / len(labels)
    sums = zip(photos.tolist(), confidences.tolist(), rights.tolist(), strict=True)
    return Calibration(error, tuple(_bin(number, *values) for number, values in enumerate(sums)))


def _bin(number: int, photos: int, confidence: float, right: float) -> Bin:
    means = (confidence / photos, right / photos) if photos else (None, None)
    return Bin(number / BINS, (number + 1) / BINS, photos, *means)
