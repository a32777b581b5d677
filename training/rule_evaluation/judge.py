"""Runs rules over saved tensors, step by step, and returns their verdicts in the form of DescribeTrainingJob.

Runs in training jobs beside the training, in local mode's plane, and by hand: `python -m training.rule_evaluation.judge FOLDER` prints the
verdicts of our jobs' rules on a folder or s3:// prefix of saved tensors.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from smdebug.analysis.utils import no_refresh
from smdebug.trials import create_trial

from training.contract.rules import LONGEST_DETAILS
from training.contract.rules import configurations as job_configurations
from training.rule_evaluation.builtin import ConfigurationError, build_rule
from training.rule_evaluation.status import RuleStatus, report_errors, utc_now
from training.rules.saved_tensors import has_collections
from training.rules.stalled_training import StalledTrainingRule
from training.rules.tensor_rule import TensorRule

SAVE_MORE = "Save the tensors that the rule compares more often or for longer, and train again: unsaved steps were not judged."
CORRECT_PARAMETERS = "Correct the rule's parameters, and train again."
READ_THE_LOG = "Find the error in the job's log: this rule has not seen every step."

Clock = Callable[[], datetime]


class Judged:
    """One configured rule and its result."""

    def __init__(self, configuration: Mapping[str, Any], trial: Any) -> None:
        """A configuration that cannot be evaluated is an Error from the start."""
        self.configuration = configuration
        self.rule: TensorRule | None = None
        self.problem, self.advice = "", ""
        try:
            self.rule = build_rule(trial, configuration)
        except ConfigurationError as error:
            self.problem, self.advice = str(error), CORRECT_PARAMETERS
        except Exception as error:  # noqa: BLE001 - one rule's error must not stop the others
            self.problem, self.advice = f"{type(error).__name__}: {error}", READ_THE_LOG

    def look(self, step: int) -> None:
        """Have the rule look at a step; after an error it looks at no further step."""
        if self.rule is None or self.problem:
            return
        try:
            self.rule.invoke_at_step(step)
        except Exception as error:  # noqa: BLE001 - as above; the verdict reports the error
            self.problem, self.advice = f"at step {step}: {type(error).__name__}: {error}", READ_THE_LOG

    def verdict(self, steps: int, *, ended: bool) -> tuple[str, str, str]:
        """Return status, details and advice."""
        if self.rule and self.rule.findings:
            first, met = self.rule.findings[0], self.rule.met
            times = "once, at" if met == 1 else f"{met} times, first at"
            details = f"RuleEvaluationConditionMet: the condition was met {times} {first.mode} step {first.step}: {first.what}"
            return "IssuesFound", details, self.rule.advice
        if self.problem or self.rule is None:
            return "Error", f"InternalError: {self.problem}", self.advice
        if not ended:
            return "InProgress", f"{self.rule.looks} of {steps} saved steps had something to compare", ""
        if not self.rule.looks:
            return "Error", f"InternalError: no {self.rule.compares}: nothing to compare in {steps} saved steps", SAVE_MORE
        return "NoIssuesFound", f"{self.rule.looks} of {steps} saved steps had something to compare", ""

    def status(self, steps: int, at: datetime, *, ended: bool) -> RuleStatus:
        """Return the verdict so far; `ended`: whether all saved steps were seen."""
        status, details, advice = self.verdict(steps, ended=ended)
        findings = self.rule.findings if self.rule and status == "IssuesFound" else []
        evidence = tuple(
            {"mode": each.mode, "step": each.step, "tensor": each.tensor, "value": to_json_number(each.value), "threshold": each.threshold}
            for each in findings
        )
        name, parameters = self.configuration["RuleConfigurationName"], dict(self.configuration.get("RuleParameters", {}))
        return RuleStatus(name, status, details[:LONGEST_DETAILS], at.isoformat(), parameters, evidence, advice)


class Judging:
    """The rules of one trial; their verdicts can be read while it grows."""

    def __init__(self, trial: Any, configurations: Sequence[Mapping[str, Any]], running_since: float = 0.0) -> None:
        """`trial`: what smdebug.trials.create_trial returns; `running_since`: when the training began or was resumed, in epoch seconds."""
        self._trial = trial
        self._judged = [Judged(each, trial) for each in configurations]
        for each in self._timed():
            each.running_since = running_since
        self._done = -1
        self._steps = 0
        self._waiting: list[int] = []

    def advance(self, most: int | None = None) -> int:
        """Have each rule look at the newly saved steps, at most so many; return their number."""
        if not self._waiting:
            self._waiting = [step for step in self._trial.steps() if step > self._done]
        new, self._waiting = self._waiting[:most], self._waiting[len(self._waiting) if most is None else most :]
        with no_refresh([self._trial]):
            for step in new:
                for each in self._judged:
                    each.look(step)
        self._done, self._steps = new[-1] if new else self._done, self._steps + len(new)
        return len(new)

    def wait(self) -> None:
        """Let rules that depend on time check it; call this during the training."""
        for each in self._timed():
            each.wait()

    def _timed(self) -> list[StalledTrainingRule]:
        return [each.rule for each in self._judged if isinstance(each.rule, StalledTrainingRule)]

    def statuses(self, now: Clock, *, ended: bool) -> list[RuleStatus]:
        """Return the verdicts so far."""
        return [each.status(self._steps, now(), ended=ended) for each in self._judged]


def judge(folder: str, configurations: Sequence[Mapping[str, Any]] | None = None, now: Clock = utc_now) -> list[RuleStatus]:
    """Return one verdict per configuration on the tensors of a finished training.

    Args:
        folder: a path or an s3:// prefix.
        configurations: rules in the API's form; by default those of our jobs.
        now: returns the time of the verdicts.
    """
    rules = job_configurations("head", epochs=20) if configurations is None else configurations
    if not has_collections(folder):
        return report_errors(f"no tensors were saved in {folder}", now, rules, SAVE_MORE)
    judging = Judging(create_trial(folder), rules)
    judging.advance()
    return judging.statuses(now, ended=True)


def to_json_number(value: float) -> float | str:
    """Return a number that JSON can hold; one that is not finite as text."""
    return value if math.isfinite(value) else str(value)


if __name__ == "__main__":
    print(json.dumps([asdict(status) for status in judge(sys.argv[1])], indent=2))
