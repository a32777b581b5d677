"""What the rules said of a job: gathered from debugger and profiler, and put right where something was not recorded.

Runs in training jobs. A rule that did not see everything may have found an issue; it never says that there is none.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from training.contract.hyperparameters import Hyperparameters
from training.contract.rules import configurations, profiler_configurations
from training.rule_evaluation.status import LONGEST_DETAILS, RuleStatus, could_not_judge, utc_now
from training.settings import Folders

ADVICE = "Find out from the job's log why measurements are missing, and train again: what was not recorded was not judged."

LOSS_RULES = frozenset({"LossNotDecreasing", "Overfit", "Overtraining", "StalledTraining"})
"""Rules that need losses alone, which are saved to the end; the last of them the times at which they were."""

Configurations = Sequence[Mapping[str, Any]]
"""RuleConfigurationName and RuleParameters of each, as a request has them."""


@dataclass(frozen=True)
class Verdicts:
    """Of a job that evaluates its rules itself; empty where the service does."""

    rules: Sequence[RuleStatus] = ()
    profiler_rules: Sequence[RuleStatus] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)
    """What profile.json holds."""


def debugger_rules(settings: Hyperparameters) -> Configurations:
    """Return the debugger rules that the job evaluates itself."""
    if settings.debugger != "embedded":
        return ()
    asked = settings.rules
    return configurations(settings.trainable, settings.epochs, asked.evaluate, asked.stop_training, asked.parameters)


def judge_profile(settings: Hyperparameters, folders: Folders, problem: str | None) -> Verdicts:
    """Have the profiler rules judge what was measured; `problem`: why some of it is missing."""
    if settings.debugger != "embedded":
        return Verdicts()
    rules = profiler_configurations(settings.epochs, settings.rules.parameters)
    try:
        from training.profiler.analyse import analyse  # whatever of it cannot be imported, the job goes on

        found, profile = analyse(folders.profiler_output, folders.rule_output, rules, utc_now)
    except Exception as error:  # noqa: BLE001 - the model is trained: nothing that is said of it may cost it
        problem = f"{problem + '; ' if problem else ''}the profile cannot be judged: {type(error).__name__}: {error}"
        print(f"profiler degraded: {problem}", flush=True)
        return Verdicts(profiler_rules=unjudged(rules, problem), profile={"problem": problem})
    problem = problem or profile.get("problem")
    return Verdicts(profiler_rules=doubted(found, problem), profile={**profile, "problem": problem})


def unjudged(rules: Configurations, problem: str) -> list[RuleStatus]:
    """Return an Error for each rule."""
    return could_not_judge(problem, configurations=rules, advice=ADVICE)


def doubted(statuses: Sequence[RuleStatus], problem: str | None, sound: Collection[str] = ()) -> list[RuleStatus]:
    """Return verdicts as they are where all was recorded; else only issues that were found stand, and rules that saw all: `sound`."""
    return [
        status
        if problem is None or status.RuleEvaluationStatus == "IssuesFound" or status.RuleConfigurationName in sound
        else replace(status, RuleEvaluationStatus="Error", StatusDetails=f"InternalError: {problem}"[:LONGEST_DETAILS], Advice=ADVICE)
        for status in statuses
    ]
