"""Temperature and calibration error against values that are known. Run: `make test`."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from training.calibration import BINS, TEMPERATURES, fit_temperature, measure_calibration


def drawn(photos: int, classes: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels drawn with just the probabilities that the logits state: calibrated at temperature 1."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(photos, classes, generator=generator)
    return logits, torch.multinomial(logits.softmax(dim=1), 1, generator=generator).flatten()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_logits_too_sure_is_found(temperature: float) -> None:
    logits, labels = drawn(20_000)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("temperature", [0.7, 1.6])
def test_no_other_temperature_has_a_lower_loss(temperature: float) -> None:
    logits, labels = drawn(300, seed=3)
    precise = (logits * temperature).double()
    fitted = fit_temperature(precise, labels)
    losses = {tried: cross_entropy(precise / tried, labels).item() for tried in torch.linspace(*TEMPERATURES, 2000).tolist()}
    assert cross_entropy(precise / fitted, labels).item() <= min(losses.values()) + 1e-12


def test_a_range_keeps_the_temperature_sensible() -> None:
    """Every photo right: the surer the better, without an end; every photo wrong: the less sure the better."""
    right = torch.eye(4).repeat(10, 1)
    labels = torch.arange(4).repeat(10)
    assert fit_temperature(right, labels) == pytest.approx(TEMPERATURES[0], rel=1e-6)
    assert fit_temperature(right * 9, (labels + 1) % 4) == pytest.approx(TEMPERATURES[1], rel=1e-6)


def test_few_photos_fit_no_temperature() -> None:
    logits, labels = drawn(20)
    assert fit_temperature(5 * logits, labels) != 1.0
    assert fit_temperature(5 * logits[:19], labels[:19]) == 1.0


def test_the_error_of_known_bins() -> None:
    """Ten photos at 0.9, six of them right; ten at 0.55, all right: (10 * 0.3 + 10 * 0.45) / 20."""
    probabilities = torch.tensor([[0.9, 0.1]] * 10 + [[0.45, 0.55]] * 10)
    labels = torch.tensor([0] * 6 + [1] * 4 + [1] * 10)
    measured = measure_calibration(probabilities, labels)
    assert measured.error == pytest.approx(0.375)
    filled = {round(entry.confidence or 0, 6): entry for entry in measured.bins if entry.photos}
    assert [(entry.photos, entry.accuracy) for entry in filled.values()] == [(10, 1.0), (10, pytest.approx(0.6))]
    assert all(entry.low < confidence <= entry.high for confidence, entry in filled.items())
    assert {entry.confidence for entry in measured.bins if not entry.photos} == {None}


def test_the_bins_cover_all_confidences() -> None:
    edges = torch.arange(1, BINS + 1, dtype=torch.float64) / BINS
    probabilities = torch.stack([edges, 1 - edges], dim=1)[BINS // 2 :]
    bins = measure_calibration(probabilities, torch.zeros(len(probabilities), dtype=torch.int64)).bins
    assert (bins[0].low, bins[-1].high) == (0.0, 1.0)
    assert sum(entry.photos for entry in bins) == len(probabilities)


def test_a_temperature_mends_what_is_too_sure() -> None:
    logits, labels = drawn(5_000, seed=5)
    sure = logits * 3
    mended = sure / fit_temperature(sure, labels)
    assert measure_calibration(sure.softmax(1), labels).error > 0.1
    assert measure_calibration(mended.softmax(1), labels).error < 0.03
