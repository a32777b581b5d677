"""AssessModel on reports that the training code itself has written: what one room promises, the other reads."""

from pathlib import Path

import pytest
import torch

from lambdas.assess_model import assess
from tests.fixtures.lambdas.fake_s3 import FakeS3
from tests.fixtures.lambdas.reports import HASHES, folder_of
from tests.fixtures.sagemaker.registry import GROUP, Registry
from tests.fixtures.training.handmade import make_dataset
from training.debugger.interface import NoDebugger
from training.evaluation.assessment import assess as judge
from training.fit.loop import Epoch
from training.report.write import Report, write_report

SHOWN = [number % 3 for number in range(60)]
EPOCH = Epoch(1, 0.5, 0.5, 0.5, 0.5, 0.1)


def report(folder: Path, run: str, wrong: int) -> dict[str, bytes]:
    """The objects in S3 of a model that names so many of 60 test photos wrongly."""
    dataset = make_dataset(folder / "dataset", {"train": [0, 1, 2], "valid": [0, 1, 2], "test": SHOWN}, pictures=False)
    called = [(label + 1) % 3 if number < wrong else label for number, label in enumerate(SHOWN)]
    assessment = judge({"valid": torch.eye(3), "test": 9 * torch.eye(3)[called]}, dataset)
    description = {"backbone": {}, "preprocessing": {}, "hyperparameters": {}, "versions": {}, "check_photos": [], "hashes": HASHES}
    write_report(folder / "report", Report(dataset, [EPOCH], EPOCH, assessment, NoDebugger(), description))
    prefix = folder_of(run).removeprefix("s3://bucket/")
    return {f"{prefix}/report/{file.name}": file.read_bytes() for file in (folder / "report").glob("*.json")}


@pytest.mark.parametrize(("wrong", "deploy"), [(0, True), (6, True), (30, False)])
def test_the_gate_reads_what_a_training_job_writes(tmp_path: Path, wrong: int, deploy: bool) -> None:
    s3 = FakeS3({**report(tmp_path / "new", "new", wrong), **report(tmp_path / "old", "old", 6)})
    registry = Registry()
    registry.add(endpoint_config="config", report=f"{folder_of('old')}/report/")
    event = {"folder": folder_of("new"), "debugger": "embedded", "block_deployment": [], "warnings": [], "group": GROUP}
    answer = assess(event, s3, registry)
    assert (answer["deploy"], answer["warnings"]) == (deploy, [])
    assert answer["accuracy"] == pytest.approx(1 - wrong / 60)
    assert (answer["champion"]["accuracy"], answer["champion"]["photos"]) == (0.9, 60)
    assert answer["champion"]["difference"] == pytest.approx((6 - wrong) / 60)
    assert HASHES.items() <= answer["metadata"].items()
