"""Fine-tuning: what is frozen stays, it starts from a fitted head, and batch sizes change nothing reported. Run: `make test`."""

import dataclasses
import json
from pathlib import Path
from typing import cast

import pytest
import torch

from tests.fixtures.training import small
from tests.fixtures.training.jobs import Job, job_folders, run_quietly, save_photo
from training.data.dataset import open_dataset
from training.data.features import forward
from training.fit.examples import DecodedPhotos
from training.fit.finetune import BACKBONE_LR, FineTuned
from training.fit.loop import collect_gradients, compute_gradients, evaluate, fit
from training.job.failure import InputRefusedError
from training.job.micro_batches import Parts
from training.network.resnet50 import build_resnet50, fill, load_backbone
from training.serving.inference import model_fn
from training.serving.prediction import logits


@pytest.mark.parametrize(
    ("trainable", "names"), [("last_stage", {"layer4"}), ("all", {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"})]
)
def test_what_is_frozen_stays_as_it_was_and_statistics_always_do(
    prepared: Path, photos: Path, weights: Path, trainable: str, names: set[str]
) -> None:
    training = small.small_training(prepared, photos, weights, trainable=trainable, epochs=1)
    network = cast("FineTuned", training.network)
    before, _ = load_backbone(weights)
    fit(training)
    after = network.plain_state()
    changed = {name for name, value in before.state_dict().items() if not torch.equal(value, after[name])}
    assert {name.partition(".")[0] for name in changed} == names
    assert not [name for name in changed if "running" in name or "tracked" in name]
    assert {group["initial_lr"] for group in training.optimizer.param_groups} == {1e-4, 1e-4 * BACKBONE_LR}


def test_it_starts_where_the_head_ended(prepared: Path, photos: Path, weights: Path) -> None:
    """The network's first logits are those of the head on features of the same pixels."""
    training = small.small_training(prepared, photos, weights)
    network = cast("FineTuned", training.network)
    squares = next(training.valid.batches([torch.arange(6)], epoch=0))
    features = forward(load_backbone(weights)[0], squares, small.SMALL, network.processor)
    with torch.no_grad():
        assert torch.allclose(network(squares), network.head(features), rtol=1e-3, atol=1e-4)
    assert float(network.head.fc.weight.detach().abs().max()) > 0


def test_the_plain_network_does_the_same(prepared: Path, photos: Path, weights: Path) -> None:
    training = small.small_training(prepared, photos, weights, epochs=1)
    fit(training)
    network = cast("FineTuned", training.network)
    plain = fill(build_resnet50("v1.5", 3), network.plain_state(), "test")
    squares = next(training.valid.batches([torch.arange(6)], epoch=0))
    with torch.no_grad():
        assert torch.allclose(plain(small.SMALL.scale(squares)), network(squares), rtol=1e-3, atol=1e-4)


def test_the_same_network_reports_the_same_loss_at_any_batch_size(prepared: Path, photos: Path, weights: Path) -> None:
    training = small.small_training(prepared, photos, weights)
    reported = []
    for batch_size, at_once in ((16, 3), (512, 16)):
        settings = dataclasses.replace(training.settings, batch_size=batch_size)
        reported.append(evaluate(dataclasses.replace(training, settings=settings, parts=Parts(at_once)), training.valid))
    assert reported[0] == pytest.approx(reported[1], abs=1e-5)


def test_a_batch_in_parts_has_the_gradient_of_the_whole(prepared: Path, photos: Path, weights: Path) -> None:
    training = small.small_training(prepared, photos, weights)
    inputs = next(training.train.batches([torch.arange(9)], epoch=1))
    labels, found = training.train.labels[:9], []
    for at_once in (9, 2):
        compute_gradients(dataclasses.replace(training, parts=Parts(at_once)), inputs, labels, len(labels))
        found.append([gradient.clone() for gradient in collect_gradients(training)])
    for whole, parts in zip(*found, strict=True):
        assert torch.allclose(whole, parts, rtol=1e-3, atol=1e-4 * float(whole.abs().max()) + 1e-9)


def test_photos_come_in_the_order_asked_for_and_are_cut_anew_each_epoch(prepared: Path, photos: Path) -> None:
    dataset = open_dataset(prepared)
    examples = DecodedPhotos(photos, dataset.split("train"), small.SMALL, augmented_by=1)
    (forth,), (back,) = (list(examples.batches([torch.tensor(order)], 1)) for order in ([0, 1, 2], [2, 1, 0]))
    assert torch.equal(forth, back.flip(0))
    again, other = (next(examples.batches([torch.tensor([0, 1, 2])], epoch)) for epoch in (1, 2))
    assert torch.equal(forth, again)
    assert not torch.equal(forth, other)
    assert next(examples.batches([torch.tensor([], dtype=torch.int64)], 1)).shape == (0, 32, 32, 3)


def test_a_photo_that_went_away_is_named(tmp_path: Path, prepared: Path) -> None:
    examples = DecodedPhotos(tmp_path, open_dataset(prepared).split("valid"), small.SMALL)
    with pytest.raises(InputRefusedError, match=r"\.png' was usable when the data set was prepared"):
        list(examples.batches([torch.arange(2)], 0))
    name = examples.photos[0].name
    save_photo(tmp_path / name, (1, 2, 3), 1)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:200])
    with pytest.raises(InputRefusedError, match="has changed since the data set was prepared"):
        list(examples.batches([torch.arange(1)], 0))


def test_a_photo_that_was_exchanged_is_named(tmp_path: Path, prepared: Path, photos: Path) -> None:
    """Another photo would be learnt under the label of the first."""
    examples = DecodedPhotos(tmp_path, open_dataset(prepared).split("valid"), small.SMALL)
    name, other = examples.photos[0].name, examples.photos[1].name
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes((photos / other).read_bytes())
    with pytest.raises(InputRefusedError, match="has changed since the data set was prepared"):
        list(examples.batches([torch.arange(1)], 0))


def test_only_matrices_decay_and_the_memory_for_momentum_is_taken_at_once(prepared: Path, photos: Path, weights: Path) -> None:
    training = small.small_training(prepared, photos, weights)
    parameters = list(training.parameters().values())
    assert {value.ndim > 1 for group in training.optimizer.param_groups if not group["weight_decay"] for value in group["params"]} == {
        False
    }
    assert sum(len(group["params"]) for group in training.optimizer.param_groups) == len(parameters)
    assert all("momentum_buffer" in training.optimizer.state[value] for value in parameters)


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory: pytest.TempPathFactory, prepared: Path, photos: Path, weights: Path) -> Job:
    folders = job_folders(tmp_path_factory.mktemp("fine-tuning"), prepared, weights, photos)
    arguments = ["--lr", "0.001", "--batch_size", "8", "--epochs", "1", "--evaluate_test", "true", "--trainable", "last_stage"]
    status, log = run_quietly(arguments, folders)
    return Job(status, folders, log)


def test_the_whole_job_leaves_a_model_that_is_served_as_it_was_judged(fine_tuned: Job) -> None:
    assert fine_tuned.status == 0, fine_tuned.log
    evaluation = json.loads((fine_tuned.folders.report / "evaluation.json").read_text())
    model = model_fn(str(fine_tuned.folders.model))
    dataset = open_dataset(fine_tuned.folders.dataset)
    examples = DecodedPhotos(fine_tuned.folders.photos, dataset.split("test"), dataset.preprocessing)
    pixels = dataset.preprocessing.scale(next(examples.batches([torch.arange(6)], 0)))
    loss = torch.nn.functional.cross_entropy(logits(model, pixels), examples.labels).item()
    assert loss == pytest.approx(evaluation["test_loss"], abs=1e-4)
