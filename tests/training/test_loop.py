"""The training loop on made-up features: it learns, keeps the best epoch, and bears every batch size. Run: `make test`."""

import dataclasses

import pytest
import torch
from torch import nn

from training.debugger import NoDebugger
from training.evaluate import evaluate_logits
from training.features import Features
from training.head import build_head, join
from training.loop import evaluate, fit, steps_per_epoch
from training.model import FEATURES
from training.settings import Hyperparameters


def clusters(photos: int, seed: int, noise: float = 1.0) -> Features:
    """Three classes around three far points: features as a backbone might make them, all positive."""
    centres = torch.rand(3, FEATURES, generator=torch.Generator().manual_seed(99))
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(photos) % 3
    return Features((centres[labels] + noise * torch.rand(photos, FEATURES, generator=random)), labels, ())


@pytest.mark.parametrize("lr", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("batch_size", [16, 512])
def test_every_corner_of_the_search_space_learns(lr: float, batch_size: int) -> None:
    train, valid = clusters(90, 1), clusters(30, 2)
    head = build_head(3, train)
    history, best = fit(head, nn.CrossEntropyLoss(), train, valid, Hyperparameters(lr=lr, batch_size=batch_size), NoDebugger())
    assert best.valid_accuracy == 1.0
    assert len(history) == 20


def test_the_best_epoch_is_what_is_left() -> None:
    train, valid = clusters(30, 1, noise=6.0), clusters(30, 2, noise=6.0)
    shuffled = dataclasses.replace(valid, labels=valid.labels.roll(1))  # ever worse: the best epoch is the first
    head = build_head(3, train)
    history, best = fit(head, nn.CrossEntropyLoss(), train, shuffled, Hyperparameters(lr=0.05, batch_size=8, epochs=6), NoDebugger())
    assert best.valid_loss == min(epoch.valid_loss for epoch in history)
    assert best.epoch < 6
    assert evaluate(head, nn.CrossEntropyLoss(), shuffled)[0] == pytest.approx(best.valid_loss)


def test_the_objective_does_not_depend_on_the_batch_size() -> None:
    """A mean a photo: an uneven last batch counts by its photos."""
    train = clusters(25, 1)
    losses = []
    for batch_size in (7, 25):
        head = build_head(3, train)
        history, _ = fit(
            head, nn.CrossEntropyLoss(), train, train, Hyperparameters(lr=1e-12, batch_size=batch_size, epochs=1), NoDebugger()
        )
        losses.append((history[0].train_loss, history[0].valid_loss))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert losses[0][0] == pytest.approx(torch.log(torch.tensor(3.0)).item(), abs=1e-5)


def test_the_same_seed_gives_the_same_weights() -> None:
    train, weights = clusters(40, 1), []
    for _ in range(2):
        head = build_head(3, train)
        fit(head, nn.CrossEntropyLoss(), train, train, Hyperparameters(epochs=2), NoDebugger())
        weights.append(head.fc.weight.detach().clone())
    assert torch.equal(*weights)


def test_steps_per_epoch_counts_the_smaller_last_batch() -> None:
    assert [steps_per_epoch(clusters(21, 1), size) for size in (8, 21, 512)] == [3, 1, 1]


def test_joining_keeps_the_logits() -> None:
    train = clusters(30, 1)
    head = build_head(3, train)
    fit(head, nn.CrossEntropyLoss(), train, train, Hyperparameters(epochs=2), NoDebugger())
    state = join(nn.Identity(), head)
    joined = nn.functional.linear(train.values, state["fc.weight"], state["fc.bias"])
    assert torch.allclose(joined, head(train.values), atol=1e-4)


def test_figures_of_an_evaluation() -> None:
    called = torch.tensor([0, 0, 1, 1, 1])
    evaluation = evaluate_logits(nn.functional.one_hot(called, 3).float() * 9, torch.tensor([0, 1, 1, 1, 0]), ("a", "b", "c"))
    assert evaluation.accuracy == pytest.approx(0.6)
    assert evaluation.confusion_matrix == ((1, 1, 0), (1, 2, 0), (0, 0, 0))
    a, b, c = evaluation.per_class
    assert (a.photos, a.precision, a.recall, a.f1) == (2, 0.5, 0.5, 0.5)
    assert [b.precision, b.recall] == pytest.approx([2 / 3, 2 / 3])
    assert (c.photos, c.precision, c.recall, c.f1) == (0, None, None, None)
    assert evaluation.most_confused() == [("a", "b", 1), ("b", "a", 1)]
