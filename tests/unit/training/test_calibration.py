"""Temperature and calibration error against values that are known. Run: `make test`."""

import pytest
import torch

from training.evaluation.calibration import BINS, MIN_ERRORS, TEMPERATURES, fit_temperature, measure_calibration, penalised_loss


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
    losses = [penalised_loss(precise, labels, tried) for tried in torch.linspace(*TEMPERATURES, 2000).tolist()]
    assert penalised_loss(precise, labels, fitted) <= min(losses) + 1e-9


def test_a_range_keeps_the_temperature_sensible() -> None:
    """Every photo wrong: the less sure the better, without an end."""
    sure = 9 * torch.eye(4).repeat(10, 1)
    assert fit_temperature(sure, (torch.arange(4).repeat(10) + 1) % 4) == pytest.approx(TEMPERATURES[1], rel=1e-6)


def easy(photos: int, wrong: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes, each photo named with the probability 0.97, and so many of them wrongly."""
    labels = torch.arange(photos) % 2
    called = torch.where(torch.arange(photos) < wrong, 1 - labels, labels)
    return 3.5 * torch.eye(2)[called], labels


@pytest.mark.parametrize("wrong", [0, 1])
def test_two_easy_classes_do_not_make_a_model_surer(wrong: int) -> None:
    """Of 30 photos at 0.97 one is wrong on average: none or one say nothing against temperature 1."""
    assert fit_temperature(*easy(30, wrong)) == pytest.approx(1, abs=0.1)


def test_a_model_that_is_sure_and_right_is_left_as_it_is() -> None:
    logits = torch.eye(4).repeat(10, 1)
    assert fit_temperature(logits, torch.arange(4).repeat(10)) == pytest.approx(1, abs=1e-6)


def test_few_errors_can_only_make_a_model_less_sure() -> None:
    """An unsure model that is nearly always right: with enough errors it is called surer."""
    few, enough = ((0.3 * logits, labels) for logits, labels in (easy(200, MIN_ERRORS - 1), easy(200, MIN_ERRORS)))
    assert fit_temperature(*few) == pytest.approx(1, abs=1e-6)
    assert fit_temperature(*enough) < 0.6


@pytest.mark.parametrize("photos", [30, 200])
def test_a_model_too_sure_is_softened_for_few_errors_too(photos: int) -> None:
    logits, labels = easy(photos, 4)
    assert fit_temperature(3 * logits, labels) > 1.3


def test_a_model_that_is_calibrated_stays_so_on_average() -> None:
    """Other validation photos, other errors: none of a hundred draws of 30 photos leads far away."""
    fitted = [fit_temperature(*drawn(30, classes=2, seed=seed)) for seed in range(100)]
    assert max(fitted) < 2
    assert min(fitted) > 0.5


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
