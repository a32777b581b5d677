"""The training loop on made-up features: it learns, keeps the best epoch, and bears every batch size. Run: `make test`."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.optim import SGD

from tests.fixtures.training.clusters import clusters, training_of
from training.contract.hyperparameters import Hyperparameters
from training.data.dataset import Features
from training.fit.examples import CachedFeatures
from training.fit.head import Head, join
from training.fit.loop import (
    collect_gradients,
    compute_gradients,
    decay_matrices,
    evaluate,
    fit,
    set_learning_rates,
    shuffle,
    steps_per_epoch,
    weigh_classes,
)
from training.job.failure import InputRefusedError
from training.job.micro_batches import Parts


@pytest.mark.parametrize("lr", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("batch_size", [16, 512])
def test_every_corner_of_the_search_space_learns(lr: float, batch_size: int) -> None:
    progress = fit(training_of(clusters(90, 1), clusters(30, 2), lr=lr, batch_size=batch_size))
    assert progress.best is not None
    assert progress.best.valid_accuracy == 1.0
    assert len(progress.history) == 20


def test_the_best_epoch_is_what_is_left() -> None:
    train, valid = clusters(30, 1, noise=6.0), clusters(30, 2, noise=6.0)
    shuffled_labels = dataclasses.replace(valid, labels=valid.labels.roll(1))  # ever worse: the best epoch is the first
    training = training_of(train, shuffled_labels, lr=0.05, batch_size=8, epochs=6)
    progress = fit(training)
    assert progress.best is not None
    assert progress.best.valid_loss == min(epoch.valid_loss for epoch in progress.history)
    assert progress.best.epoch < 6
    assert evaluate(training, training.valid)[0] == pytest.approx(progress.best.valid_loss)


def test_the_objective_does_not_depend_on_the_batch_size() -> None:
    """The same model reports the same validation loss at 16 and at 512: a mean a photo, an uneven last batch counts by its photos."""
    train, valid = clusters(50, 1), clusters(37, 2, noise=6.0)
    losses = []
    for batch_size in (16, 512):
        progress = fit(training_of(train, valid, lr=1e-12, batch_size=batch_size, epochs=1))
        losses.append((progress.history[0].train_loss, progress.history[0].valid_loss))
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert losses[0][0] == pytest.approx(math.log(3), abs=1e-5)


def test_class_weights_change_what_is_learnt_never_what_is_reported() -> None:
    train = clusters(31, 1, noise=6.0)
    rare = Features(train.values[:22], torch.where(train.labels[:22] == 2, 1, train.labels[:22]))
    rare.labels[0] = 2
    even, weighed = (training_of(rare, rare, class_weights=mode, batch_size=8, epochs=1) for mode in ("none", "balanced"))
    assert evaluate(even, even.valid) == evaluate(weighed, weighed.valid)
    assert fit(even).history[0].valid_loss != fit(weighed).history[0].valid_loss


def test_class_weights_are_the_square_root_of_rarity_and_one_a_photo() -> None:
    labels = torch.tensor([0] * 16 + [1] * 4)
    weights = weigh_classes(labels, 2, "balanced")
    assert weights[1] / weights[0] == pytest.approx(2.0)
    assert weights[labels].mean() == pytest.approx(1.0)
    assert weigh_classes(labels, 2, "none").tolist() == [1.0, 1.0]


@pytest.mark.parametrize("at_once", [1, 5, 16])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(at_once: int) -> None:
    train = clusters(16, 1, noise=6.0)
    whole, parts = training_of(train, train), training_of(train, train, parts=at_once)
    for training in (whole, parts):
        compute_gradients(training, train.values, train.labels, len(train.labels))
    for expected, got in zip(collect_gradients(whole), collect_gradients(parts), strict=True):
        assert torch.allclose(expected, got, atol=1e-7)


def test_a_photo_counts_the_same_in_whatever_company() -> None:
    """The weights average 1 over the data set, not over each batch: a batch of a rare class alone moves more."""
    train = clusters(8, 1)
    training = dataclasses.replace(training_of(train, train), class_weights=torch.tensor([4.0, 1.0, 1.0]))
    found = []
    for labels in ([0, 0], [0, 1]):
        compute_gradients(training, train.values[[0, 1]], torch.tensor(labels), 2)
        found.append(collect_gradients(training)[1].clone())  # of the bias: (share - what is right) x weight / photos
    assert torch.allclose(found[0], 4 * torch.tensor([-2 / 3, 1 / 3, 1 / 3]), atol=1e-5)
    assert torch.allclose(found[1], (4 * torch.tensor([-2 / 3, 1 / 3, 1 / 3]) + torch.tensor([1 / 3, -2 / 3, 1 / 3])) / 2, atol=1e-5)


def test_only_matrices_decay() -> None:
    layer = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    groups = decay_matrices(layer.parameters(), 0.1, 0.5)
    assert [(len(group["params"]), group["lr"], group["weight_decay"]) for group in groups] == [(1, 0.1, 0.5), (3, 0.1, 0.0)]


class Hungry(nn.Module):
    """Has memory for so many photos."""

    def __init__(self, head: Head, memory: int) -> None:
        super().__init__()
        self.head, self.memory = head, memory

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if len(features) > self.memory:
            raise torch.OutOfMemoryError
        logits: torch.Tensor = self.head(features)
        return logits


def test_what_does_not_fit_is_done_again_in_smaller_parts(capsys: pytest.CaptureFixture[str]) -> None:
    train, losses = clusters(30, 1), []
    for memory in (30, 7):
        training = training_of(train, train, epochs=2)
        head = training.network
        assert isinstance(head, Head)
        progress = fit(dataclasses.replace(training, network=Hungry(head, memory), parts=Parts(30)))
        losses.append([(epoch.train_loss, epoch.valid_loss) for epoch in progress.history])
    assert torch.allclose(torch.tensor(losses[0]), torch.tensor(losses[1]), atol=1e-5)
    assert "runs again with 7 photos at once" in capsys.readouterr().out


def test_a_photo_that_does_not_fit_ends_the_job_with_advice() -> None:
    training = training_of(clusters(9, 1), clusters(9, 1))
    head = training.network
    assert isinstance(head, Head)
    with pytest.raises(InputRefusedError, match="instance type with more memory"):
        fit(dataclasses.replace(training, network=Hungry(head, 0)))


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when"), RuntimeError("CUDNN_STATUS_ALLOC_FAILED")]
)
def test_a_shortage_has_many_words(error: Exception) -> None:
    def work(photos: int) -> int:
        if photos > 3:
            raise error
        return photos

    assert Parts(8).run(work) == 2


def test_other_faults_are_no_lack_of_memory() -> None:
    def broken(_photos: int) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        Parts(4).run(broken)


def test_a_learning_rate_that_destroys_the_network_is_named() -> None:
    train = clusters(9, 1)
    broken = Features(train.values * float("inf"), train.labels)
    training = dataclasses.replace(training_of(train, train), train=CachedFeatures(broken))
    with pytest.raises(InputRefusedError, match="lower lr"):
        fit(training)


def test_the_same_seed_gives_the_same_weights() -> None:
    train, weights = clusters(40, 1), []
    for seed in (42, 42, 43):
        training = training_of(train, train, epochs=2, seed=seed)
        fit(training)
        weights.append(training.state()["fc.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_order_is_another_in_each_epoch_and_each_photo_comes_once() -> None:
    first, second = (torch.cat(shuffle(50, Hyperparameters(batch_size=8), epoch)) for epoch in (1, 2))
    assert not torch.equal(first, second)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(50))


def test_the_rate_falls_along_a_cosine() -> None:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    rates = []
    for done in (0.0, 0.5, 1.0, 0.0):
        set_learning_rates(optimizer, done)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.0505, 0.001, 0.1])


def test_steps_per_epoch_counts_the_smaller_last_batch() -> None:
    assert [steps_per_epoch(21, size) for size in (8, 21, 512)] == [3, 1, 1]


def test_joining_keeps_the_logits() -> None:
    train = clusters(30, 1)
    training = training_of(train, train, epochs=2)
    fit(training)
    head = training.network
    assert isinstance(head, Head)
    state = join(nn.Identity(), head)
    joined = nn.functional.linear(train.values, state["fc.weight"], state["fc.bias"])
    assert torch.allclose(joined, head(train.values), atol=1e-4)
