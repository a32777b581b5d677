"""Photos through the backbone in order, few of them in memory at a time, the threads ahead of the network. Run: `make test`."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.fixtures.training.jobs import save_classes
from training.data.features import BATCH, Processor, choose_processor, extract_features, read_ahead, reading_threads, warn_of_unused_gpu
from training.data.folders import FoundPhoto, find_photos
from training.data.preprocessing import Preprocessing, read_photo
from training.network.resnet50 import FEATURES, fold_batch_norm, load_backbone

CPU = Processor(torch.device("cpu"), bfloat16=False)


class Counting(nn.Module):
    """A backbone that counts its photos."""

    def __init__(self) -> None:
        super().__init__()
        self.photos = 0

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.photos += len(pixels)
        return pixels.mean(dim=(1, 2, 3)).unsqueeze(1).expand(-1, FEATURES)


def test_features_are_what_the_network_says_of_each_photo(tmp_path: Path, weights: Path) -> None:
    save_classes(tmp_path, 1)
    backbone, _ = load_backbone(weights)
    photos = find_photos(tmp_path).photos
    with torch.inference_mode():
        alone = [backbone(Preprocessing()(read_photo(tmp_path / photo.name)).unsqueeze(0))[0] for photo in photos]
    (batch,) = extract_features(fold_batch_norm(backbone), tmp_path, photos, Preprocessing(), CPU)
    assert [photo.kept.photo for photo in batch.photos] == list(photos)
    assert torch.allclose(batch.features, torch.stack(alone), rtol=1e-3, atol=1e-4)


def test_each_photo_is_seen_once_and_in_order(tmp_path: Path) -> None:
    photos = find_photos(save_classes(tmp_path, 12)).photos
    backbone = Counting()
    batches = list(extract_features(backbone, tmp_path, photos, Preprocessing(), CPU))
    assert [photo.kept.photo for batch in batches for photo in batch.photos] == list(photos)
    assert backbone.photos == len(photos)
    assert [len(batch.photos) for batch in batches] == [BATCH, BATCH, 36 - 2 * BATCH]


def test_files_are_asked_for_as_they_are_needed(tmp_path: Path) -> None:
    """A photo takes no memory until its turn is near, however many there are."""
    save_classes(tmp_path, 1)
    asked = 0

    def many() -> Iterator[FoundPhoto]:
        nonlocal asked
        for _ in range(20 * BATCH):
            asked += 1
            yield FoundPhoto("red/0.png", 0, None)

    batches = extract_features(Counting(), tmp_path, many(), Preprocessing(), CPU)
    for _ in range(3):
        next(batches)
    assert asked <= 8 * BATCH


def test_results_come_in_order_though_some_take_longer() -> None:
    later = threading.Event()

    def wait_for_the_next(number: int) -> int:
        if number == 0 and reading_threads() > 1:
            later.wait(timeout=10)
        later.set()
        return number * 10

    assert list(read_ahead(range(30), wait_for_the_next, 4)) == [number * 10 for number in range(30)]


def test_who_ends_early_waits_for_no_read_that_has_not_begun() -> None:
    begun = []

    def slow(number: int) -> int:
        begun.append(number)
        time.sleep(0.05)
        return number

    coming = read_ahead(range(1000), slow, 200)
    assert next(coming) == 0
    coming.close()  # type: ignore[attr-defined]
    assert len(begun) < 100


def test_threads_that_read_share_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert reading_threads({}) == cores
    assert reading_threads({"LOCAL_WORLD_SIZE": "1", "OMP_NUM_THREADS": "1"}) == 1
    assert reading_threads({"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}) == max(1, cores // 2)
    assert reading_threads({"LOCAL_WORLD_SIZE": "64"}) == 1


def test_a_gpu_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    resources = tmp_path / "resourceconfig.json"
    assert warn_of_unused_gpu({}, resources) == ""
    assert "this machine has a GPU" in warn_of_unused_gpu({"SM_NUM_GPUS": "1"}, resources)
    assert warn_of_unused_gpu({"SM_RESOURCE_CONFIG": json.dumps({"current_instance_type": "ml.c7i.xlarge"})}, resources) == ""
    resources.write_text(json.dumps({"current_instance_type": "ml.g5.xlarge"}))
    assert "ml.g5.xlarge has a GPU, but torch cannot use it" in warn_of_unused_gpu({}, resources)


def test_what_goes_wrong_in_a_thread_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(read_ahead([1, 0, 1], lambda number: 1 // number, 2))


def test_the_processor_is_told_in_words() -> None:
    assert str(CPU) == "CPU, float32"
    assert str(choose_processor()).endswith(("float32", "bfloat16"))
