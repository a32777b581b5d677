"""Each rule on tensors that smdebug really saved: silent on a sound run, heard on the planted fault. Run: `make test`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from training.compatibility import import_smdebug
from training.rules.judge import RULES, judge
from training.rules.status import RULE_NAMES, RuleStatus, could_not_judge

Values = Callable[[int], float]


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
    epochs: int = 12,
    reductions: Sequence[str] = (),
    /,
    train: Values = falling,
    valid: Values = falling,
    gradient: Values = lambda _: 1.0,
    weight: Values = falling,
) -> str:
    """Save a run of two training steps and one evaluation an epoch, with the values asked for; raw, or of all but losses reductions."""
    smdebug: Any = import_smdebug()
    hook = smdebug.Hook(
        out_dir=str(folder), save_config=smdebug.SaveConfig(save_interval=1), include_collections=["losses", "weights", "gradients"]
    )
    for name in ("weights", "gradients") if reductions else ():
        hook.get_collection(name).reduction_config = smdebug.ReductionConfig(reductions=list(reductions))
    module, loss = Saved(), Loss()
    hook.register_module(module)
    hook.register_loss(loss)
    for epoch in range(epochs):
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
    return {status.RuleConfigurationName: status for status in judge(folder)}


def issues(folder: str) -> set[str]:
    return {name for name, status in statuses(folder).items() if status.RuleEvaluationStatus == "IssuesFound"}


def test_a_sound_run_is_silent(tmp_path: Path) -> None:
    found = statuses(record(tmp_path / "run", valid=lambda epoch: falling(2 * epoch + 1)))
    assert {status.RuleEvaluationStatus for status in found.values()} == {"NoIssuesFound"}
    assert tuple(found) == RULE_NAMES == tuple(rule(FakeTrial()).rule_name for rule in RULES)


class FakeTrial:
    """As much of a trial as a rule looks at when it is made."""

    logger = None

    def tensor_names(self, **_: object) -> list[str]:
        return []


@pytest.mark.parametrize(
    ("rule", "plant"),
    [
        ("LossNotDecreasing", {"valid": lambda _: 0.5, "train": lambda _: 0.5}),
        ("LossNotDecreasing", {"valid": lambda epoch: 1.0 + epoch, "train": lambda step: 9.0 + step}),
        ("VanishingGradient", {"gradient": lambda step: 1e-9 if step > 5 else 1.0}),
        ("ExplodingTensor", {"weight": lambda step: float("inf") if step == 7 else 1.0 / (step + 1)}),
        ("ExplodingTensor", {"train": lambda step: float("nan") if step == 3 else 1.0 / (step + 1)}),
        ("Overfit", {"valid": lambda epoch: 2.0 - epoch / 100}),
        ("UnchangedTensor", {"weight": lambda step: 0.25 if step > 8 else 1.0 / (step + 1)}),
    ],
)
def test_a_planted_fault_is_heard(tmp_path: Path, rule: str, plant: dict[str, Values]) -> None:
    values: dict[str, Values] = {"valid": lambda epoch: falling(2 * epoch + 1)} | plant
    folder = record(tmp_path / "run", **values)
    assert rule in issues(folder)
    details = statuses(folder)[rule].StatusDetails
    assert details.startswith("RuleEvaluationConditionMet")
    assert "step" in details


def test_what_was_not_saved_is_an_error_not_a_pass(tmp_path: Path) -> None:
    smdebug: Any = import_smdebug()
    hook = smdebug.Hook(out_dir=str(tmp_path / "run"), save_config=smdebug.SaveConfig(save_interval=1))
    module, loss = Saved(), Loss()
    hook.register_module(module)
    hook.register_loss(loss)
    for mode in (smdebug.modes.TRAIN, smdebug.modes.EVAL):
        hook.set_mode(mode)
        loss(module(torch.tensor(1.0)), torch.tensor(1.0))
    hook.close()
    found = statuses(str(tmp_path / "run"))
    assert found["VanishingGradient"].RuleEvaluationStatus == found["UnchangedTensor"].RuleEvaluationStatus == "Error"
    assert "no gradients were saved" in found["VanishingGradient"].StatusDetails


def test_of_one_reduction_each_rule_looks_at_what_it_can(tmp_path: Path) -> None:
    """As a request's DebugHookConfig may have it: means alone, so the sizes of gradients are not known."""
    found = statuses(record(tmp_path / "run", 12, ["mean"], valid=lambda epoch: falling(2 * epoch + 1)))
    assert {name for name, status in found.items() if status.RuleEvaluationStatus != "NoIssuesFound"} == {"VanishingGradient"}
    assert found["VanishingGradient"].RuleEvaluationStatus == "Error"
    assert "no means of absolute values of gradients: nothing to compare" in found["VanishingGradient"].StatusDetails
    unchanged = record(tmp_path / "unchanged", 12, ["mean"], weight=lambda _: 0.25)
    assert "UnchangedTensor" in issues(unchanged)


def test_too_few_losses_to_compare_are_no_pass(tmp_path: Path) -> None:
    found = statuses(record(tmp_path / "run", 10))["LossNotDecreasing"]
    assert found.RuleEvaluationStatus == "Error"
    assert "no EVAL losses saved 10 steps apart: nothing to compare" in found.StatusDetails


def test_the_verdict_counts_what_was_compared(tmp_path: Path) -> None:
    found = statuses(record(tmp_path / "run", valid=lambda epoch: falling(2 * epoch + 1)))
    looks = {name: status.StatusDetails.partition(" saved steps")[0] for name, status in found.items()}
    assert looks == {
        "LossNotDecreasing": "1 of 36",
        "VanishingGradient": "24 of 36",
        "ExplodingTensor": "36 of 36",
        "Overfit": "12 of 36",
        "UnchangedTensor": "22 of 36",
    }


def test_without_tensors_every_rule_is_an_error() -> None:
    found = could_not_judge("the disk was full")
    assert {status.RuleEvaluationStatus for status in found} == {"Error"}
    assert tuple(status.RuleConfigurationName for status in found) == RULE_NAMES
