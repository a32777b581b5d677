"""Runs every rule over what the hook saved and words the verdicts as DescribeTrainingJob does.

Runs in training jobs after the training; also `python -m training.rules.judge FOLDER` on any folder or s3:// prefix of saved tensors.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from training.rules.exploding_tensor import ExplodingTensor
from training.rules.loss_not_decreasing import LossNotDecreasing
from training.rules.overfit import Overfit
from training.rules.status import RuleStatus, could_not_judge, utc_now
from training.rules.tensor_rule import TensorRule, modes
from training.rules.unchanged_tensor import UnchangedTensor
from training.rules.vanishing_gradient import VanishingGradient

from smdebug.exceptions import (  # isort: skip - smdebug imports only after its repairs
    NoMoreData,
    RuleEvaluationConditionMet,
    StepUnavailable,
    TensorUnavailable,
    TensorUnavailableForStep,
)
from smdebug.trials import create_trial  # isort: skip

RULES: tuple[Callable[[Any], TensorRule], ...] = (LossNotDecreasing, VanishingGradient, ExplodingTensor, Overfit, UnchangedTensor)


def judge(folder: str, rules: Sequence[Callable[[Any], TensorRule]] = RULES, now: Callable[[], datetime] = utc_now) -> list[RuleStatus]:
    """Return one verdict a rule on the tensors in a folder."""
    trial = create_trial(folder)
    missing = [mode.name for mode in (modes.TRAIN, modes.EVAL) if not trial.steps(mode=mode)]
    if missing:
        return could_not_judge(f"no {' and no '.join(missing)} steps were saved", now)
    return [_status(rule(trial), trial.steps(), now) for rule in rules]


def _status(rule: TensorRule, steps: Sequence[int], now: Callable[[], datetime]) -> RuleStatus:
    lacking = [collection for collection in rule.needs if not rule.names(collection)]
    if lacking:
        return RuleStatus(rule.rule_name, "Error", f"InternalError: no {' and no '.join(lacking)} were saved", now().isoformat())
    for step in steps:
        try:
            rule.invoke(step)
        except RuleEvaluationConditionMet:
            continue  # the sentence is in rule.findings
        except (TensorUnavailable, TensorUnavailableForStep, StepUnavailable):
            continue  # nothing of this rule's was saved at this step
        except NoMoreData:
            break
    if not rule.looks:
        return RuleStatus(rule.rule_name, "Error", f"InternalError: no {rule.compares}: nothing to compare", now().isoformat())
    if not rule.findings:
        seen = f"{rule.looks} of {len(steps)} saved steps had something to compare"
        return RuleStatus(rule.rule_name, "NoIssuesFound", seen, now().isoformat())
    times = "once" if len(rule.findings) == 1 else f"{len(rule.findings)} times, first"
    details = f"RuleEvaluationConditionMet: the condition was met {times} at {rule.findings[0]}"
    return RuleStatus(rule.rule_name, "IssuesFound", details[:1024], now().isoformat())


if __name__ == "__main__":
    print(json.dumps([asdict(status) for status in judge(sys.argv[1])], indent=2))
