"""The report's files: small for many classes, and readable whatever the photos are called. Run: `make test`."""

import json
from pathlib import Path

import torch

from training.data import LeftOut, PhotoSets
from training.debugger import NoDebugger
from training.evaluate import evaluate_logits
from training.loop import Epoch
from training.report import Report, write_report

DESCRIPTION: dict[str, dict[str, object]] = {"backbone": {}, "preprocessing": {}, "hyperparameters": {}, "versions": {}}


def written(folder: Path, classes: int, left_out: str = "a.txt") -> Path:
    """The report of a training that names every photo rightly."""
    names = tuple(f"class {number}" for number in range(classes))
    judged = evaluate_logits(torch.eye(classes), torch.arange(classes), names)
    sets = PhotoSets(names, {"train": (), "valid": (), "test": ()}, ())
    epoch = Epoch(1, 0.5, 0.5, 0.5, 0.5, 0.1)
    unusable = [LeftOut(left_out, "it is none")]
    write_report(folder, Report(sets, unusable, [epoch], epoch, {"valid": judged, "test": judged}, NoDebugger(), DESCRIPTION))
    return folder


def test_hundreds_of_classes_make_a_small_report(tmp_path: Path) -> None:
    folder = written(tmp_path, 300)
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert len(evaluation["confusion_matrix"]) == len(evaluation["confusion_matrix"][0]) == 300
    assert (folder / "evaluation.json").stat().st_size < 400_000
    assert (folder / "report.html").stat().st_size < 100_000


def test_a_name_in_no_encoding_is_kept(tmp_path: Path) -> None:
    """Linux lets a file name be any bytes; Python carries those that are no UTF-8 as lone surrogates."""
    folder = written(tmp_path, 2, left_out="caf\udce9 \u00e9.jpg")
    assert json.loads((folder / "data.json").read_text(encoding="utf-8"))["left_out"][0]["file"] == "caf\udce9 \u00e9.jpg"
    assert [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("history", "rule_statuses")][1] == []
