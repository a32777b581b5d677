"""The rules' results of a job, from debugger and profiler, corrected if something was not recorded.

Runs in training jobs. A rule that did not see everything may report an issue, but never NoIssuesFound.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from training.contract.hyperparameters import Hyperparameters
from training.contract.rules import LONGEST_DETAILS, configurations, profiler_configurations
from training.rule_evaluation.status import RuleStatus, report_errors, utc_now
from training.settings import Folders

ADVICE = "Find out from the job's log why measurements are missing, and train again: what was not recorded was not evaluated."

LOSS_RULES = frozenset({"LossNotDecreasing", "Overfit", "Overtraining", "StalledTraining"})
"""Rules that need only losses, which are saved to the end; the last one needs the times at which they were saved."""

Configurations = Sequence[Mapping[str, Any]]
"""RuleConfigurationName and RuleParameters of each rule, as in a request."""


@dataclass(frozen=True)
class RuleResults:
    """Results of a job that evaluates its rules itself; empty if the service evaluates them."""

    rules: Sequence[RuleStatus] = ()
    profiler_rules: Sequence[RuleStatus] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)
    """The content of profile.json."""


def select_debugger_rules(settings: Hyperparameters) -> Configurations:
    """Return the debugger rules that the job evaluates itself."""
    if settings.debugger != "embedded":
        return ()
    rules = settings.rules
    return configurations(settings.trainable, settings.epochs, rules.evaluate, rules.stop_training, rules.parameters)


def evaluate_profile(settings: Hyperparameters, folders: Folders, problem: str | None) -> RuleResults:
    """Evaluate the profiler rules on what was measured; `problem`: why some of it is missing."""
    if settings.debugger != "embedded":
        return RuleResults()
    rules = profiler_configurations(settings.epochs, settings.rules.parameters)
    try:
        from training.profiler.analyse import analyse  # if it cannot be imported, the job continues

        found, profile = analyse(folders.profiler_output, folders.rule_output, rules, utc_now)
    except Exception as error:  # noqa: BLE001 - the model is trained: a fault of its rules must not lose it
        problem = f"{problem + '; ' if problem else ''}the profile cannot be evaluated: {type(error).__name__}: {error}"
        print(f"profiler degraded: {problem}", flush=True)
        return RuleResults(profiler_rules=mark_failed(rules, problem), profile={"problem": problem})
    problem = problem or profile.get("problem")
    return RuleResults(profiler_rules=mark_incomplete(found, problem), profile={**profile, "problem": problem})


def mark_failed(rules: Configurations, problem: str) -> list[RuleStatus]:
    """Return an Error for each rule."""
    return report_errors(problem, configurations=rules, advice=ADVICE)


def mark_incomplete(statuses: Sequence[RuleStatus], problem: str | None, sound: Collection[str] = ()) -> list[RuleStatus]:
    """Return results unchanged without a problem; otherwise keep only found issues and the rules in `sound`, which saw everything."""
    return [
        status
        if problem is None or status.RuleEvaluationStatus == "IssuesFound" or status.RuleConfigurationName in sound
        else replace(status, RuleEvaluationStatus="Error", StatusDetails=f"InternalError: {problem}"[:LONGEST_DETAILS], Advice=ADVICE)
        for status in statuses
    ]
