"""Rules on what smdebug's own hook saves in a script: silent on a sound run, heard on a fault. Run: `make test`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import smdebug.pytorch as smdebug
import torch

from training.rule_evaluation.judge import judge
from training.rule_evaluation.status import EVERY_RULE, RuleStatus, from_document, report_errors

Values = Callable[[int], float]
EPOCHS = 12
PARAMETERS: dict[str, dict[str, str]] = {
    "LossNotDecreasing": {"num_steps": "11"},
    "VanishingGradient": {},
    "ExplodingTensor": {},
    "Overfit": {},
    "Overtraining": {},
    "UnchangedTensor": {"collection_names": "weights"},
    "AllZero": {"collection_names": "gradients"},
}


class Saved(torch.nn.Module):
    """One weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))

    def forward(self, scale: torch.Tensor) -> torch.Tensor:
        return self.weight.mean() * scale


class Loss(torch.nn.modules.loss._Loss):
    """Says the loss it is given, whatever the output."""

    def forward(self, output: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return output - output.detach() + value


def falling(step: int) -> float:
    return 1.0 / (step + 1)


def record(
    folder: Path,
    reductions: Sequence[str] = (),
    /,
    train: Values = falling,
    valid: Values = lambda epoch: falling(2 * epoch + 1),
    gradient: Values = lambda _: 1.0,
    weight: Values = falling,
) -> str:
    """Save a run of two training steps and one evaluation an epoch, with the values asked for; raw, or of all but losses reductions."""
    hook = smdebug.Hook(
        out_dir=str(folder), save_config=smdebug.SaveConfig(save_interval=1), include_collections=["losses", "weights", "gradients"]
    )
    for name in ("weights", "gradients") if reductions else ():
        hook.get_collection(name).reduction_config = smdebug.ReductionConfig(reductions=list(reductions), abs_reductions=["mean"])
    module, loss = Saved(), Loss()
    hook.register_module(module)
    hook.register_loss(loss)
    for epoch in range(EPOCHS):
        hook.set_mode(smdebug.modes.TRAIN)
        for step in (2 * epoch, 2 * epoch + 1):
            with torch.no_grad():
                module.weight.fill_(weight(step))
            loss(module(torch.tensor(4 * gradient(step))), torch.tensor(train(step))).backward()
        hook.set_mode(smdebug.modes.EVAL)
        with torch.no_grad():
            loss(module(torch.tensor(1.0)), torch.tensor(valid(epoch)))
    hook.close()
    return str(folder)


def statuses(folder: str) -> dict[str, RuleStatus]:
    found = judge(folder, [{"RuleConfigurationName": name, "RuleParameters": given} for name, given in PARAMETERS.items()])
    return {status.RuleConfigurationName: status for status in found}


@pytest.mark.parametrize("reductions", [(), ("min", "max", "mean", "std")])
def test_a_sound_run_is_silent(tmp_path: Path, reductions: Sequence[str]) -> None:
    found = statuses(record(tmp_path / "run", reductions))
    assert {status.RuleEvaluationStatus for status in found.values()} == {"NoIssuesFound"}
    assert list(found) == list(PARAMETERS)


@pytest.mark.parametrize("reductions", [(), ("min", "max", "mean", "std")])
@pytest.mark.parametrize(
    ("rule", "plant"),
    [
        ("LossNotDecreasing", {"valid": lambda _: 0.5, "train": lambda _: 0.5}),
        ("LossNotDecreasing", {"valid": lambda epoch: 1.0 + epoch, "train": lambda step: 9.0 + step}),
        ("VanishingGradient", {"gradient": lambda step: 1e-9 if step > 5 else 1.0}),
        ("AllZero", {"gradient": lambda step: 0.0 if step > 5 else 1.0}),
        ("ExplodingTensor", {"weight": lambda step: float("inf") if step == 7 else 1.0 / (step + 1)}),
        ("ExplodingTensor", {"train": lambda step: float("nan") if step == 3 else 1.0 / (step + 1)}),
        ("Overfit", {"valid": lambda epoch: 2.0 - epoch / 100}),
        ("UnchangedTensor", {"weight": lambda step: 0.25 if step > 8 else 1.0 / (step + 1)}),
    ],
)
def test_a_planted_fault_is_heard(tmp_path: Path, rule: str, plant: dict[str, Values], reductions: Sequence[str]) -> None:
    found = statuses(record(tmp_path / "run", reductions, **plant))[rule]
    assert found.RuleEvaluationStatus == "IssuesFound", found.StatusDetails
    assert found.StatusDetails.startswith("RuleEvaluationConditionMet")
    assert found.Evidence


def test_the_verdict_counts_what_was_compared(tmp_path: Path) -> None:
    found = statuses(record(tmp_path / "run"))
    looks = {name: status.StatusDetails.partition(" saved steps")[0] for name, status in found.items()}
    assert looks == {
        "LossNotDecreasing": "1 of 36",
        "VanishingGradient": "24 of 36",
        "ExplodingTensor": "36 of 36",
        "Overfit": "12 of 36",
        "Overtraining": "12 of 36",
        "UnchangedTensor": "22 of 36",
        "AllZero": "24 of 36",
    }


def test_without_tensors_every_rule_is_an_error() -> None:
    found = report_errors("the disk was full")
    assert {status.RuleEvaluationStatus for status in found} == {"Error"}
    assert len(found) == len(EVERY_RULE) == 17


def test_a_status_that_was_written_is_read_back() -> None:
    (status,) = report_errors(
        "so", configurations=[{"RuleConfigurationName": "Overfit", "RuleParameters": {"patience": "1"}}], advice="Mend."
    )
    assert from_document({**status.__dict__, "Evidence": []}) == status
