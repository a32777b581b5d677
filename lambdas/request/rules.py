"""Which rules judge the final training job, and what their verdicts do: the `rules` object of the execution input.

Runs inside `prepare_execution`; standard library only.

    Rules.parse({}, trainable="head", debugger="embedded")                                    # the defaults
    Rules.parse({"stop_training": ["ExplodingTensor"]}, trainable="head", debugger="managed")
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self
from urllib.parse import quote

from lambdas.request.input_values import InvalidExecutionInput, known_keys, shown
from lambdas.request.rule_parameters import parameter_text
from training.contract.rules import DEBUG_RULES, PROFILER_RULES, default_rules

BLOCKING = ("ExplodingTensor", "UnchangedTensor")
"""Rules that keep a model from being deployed unless others are named: what they find is never a matter of taste."""

SUMMARIES = ("OverallSystemUsage", "OverallFrameworkMetrics")
"""Profiler rules that put numbers together for the report and never find anything, so that they can keep nothing back."""

LONGEST_HYPERPARAMETER = 2_500
"""Characters of a hyperparameter that SageMaker takes."""


@dataclass(frozen=True)
class Rules:
    """What judges the final training job."""

    evaluate: tuple[str, ...] = default_rules("head")
    """Debugger rules; where none are named, those that suit what is trained."""

    stop_training: tuple[str, ...] = ()
    """Debugger rules that end the training when they find an issue."""

    block_deployment: tuple[str, ...] = BLOCKING
    """Debugger or profiler rules that keep the model from being deployed when they find an issue."""

    parameters: dict[str, dict[str, str]] = field(default_factory=dict)
    """Debugger or profiler rule -> parameter -> value, where it differs from the default."""

    @classmethod
    def parse(cls, document: object, trainable: str, debugger: str) -> Self:
        """Reads the `rules` object; raises InvalidExecutionInput."""
        given = known_keys(document, cls, "rules")
        if debugger == "off":
            return cls.none(given)
        evaluate = rule_names(given, "evaluate", default_rules(trainable), DEBUG_RULES, "a debugger rule")
        judging = (*evaluate, *PROFILER_RULES)
        finding = tuple(rule for rule in judging if rule not in SUMMARIES)
        rules = cls(
            evaluate=evaluate,
            stop_training=rule_names(given, "stop_training", (), evaluate, "among the debugger rules to evaluate"),
            block_deployment=rule_names(
                given,
                "block_deployment",
                tuple(rule for rule in BLOCKING if rule in evaluate),
                finding,
                "among the rules to evaluate that find issues",
            ),
            parameters=rule_parameters(given.get("parameters", {}), judging),
        )
        rules.require_other_trials(debugger)
        rules.require_short()
        return rules

    @classmethod
    def none(cls, given: Mapping[str, Any]) -> Self:
        """No rule at all, where the debugger is off; one that is asked for raises InvalidExecutionInput."""
        for key, value in given.items():
            if value not in ([], (), {}):
                raise InvalidExecutionInput(
                    f'rules.{key} must be left out where debugger is "off", got {shown(value)}: no rule is evaluated then; '
                    'leave it out, or set debugger to "embedded" or "managed"'
                )
        return cls(evaluate=(), block_deployment=())

    def require_other_trials(self, debugger: str) -> None:
        """SimilarAcrossRuns reads tensors of other jobs, which it must be told of and be able to reach."""
        if "SimilarAcrossRuns" not in self.evaluate:
            return
        if debugger == "embedded":
            raise InvalidExecutionInput(
                "rules.evaluate names SimilarAcrossRuns, which reads the tensors of other jobs from S3, and an embedded rule runs in a job "
                'that has no network; leave it out, or set debugger to "managed"'
            )
        if "other_trials" not in self.parameters.get("SimilarAcrossRuns", {}):
            raise InvalidExecutionInput(
                "rules.evaluate names SimilarAcrossRuns, which needs other tensors to compare with: give "
                'rules.parameters.SimilarAcrossRuns.other_trials, such as "s3://<bucket>/executions/<run>/training/<job>/debug-output/"'
            )

    def require_short(self) -> None:
        """Raises InvalidExecutionInput for more parameters than a hyperparameter holds."""
        length = len(self.hyperparameter)
        if length > LONGEST_HYPERPARAMETER:
            raise InvalidExecutionInput(
                f"rules must be at most {LONGEST_HYPERPARAMETER:,} characters when written as a hyperparameter, got {length:,}; "
                "leave parameters out that are at their defaults, or shorten their values"
            )

    @property
    def hyperparameter(self) -> str:
        """What the training job needs to know of it: JSON, percent-encoded, for the training toolkit starts the program through a shell."""
        told = {key: value for key, value in asdict(self).items() if key != "block_deployment"}
        return quote(json.dumps(told, separators=(",", ":")), safe=",:")


def rule_names(given: Mapping[str, Any], key: str, default: tuple[str, ...], allowed: Collection[str], what: str) -> tuple[str, ...]:
    """Distinct names out of those allowed."""
    names = given.get(key, default)
    if not isinstance(names, list | tuple):
        raise InvalidExecutionInput(f'rules.{key} must be a list of rule names, such as ["Overfit"], got {shown(names)}')
    for name in names:
        require_known(name, f"rules.{key}", allowed, what)
    return tuple(dict.fromkeys(names))


def require_known(name: object, where: str, allowed: Collection[str], what: str) -> None:
    """Raises InvalidExecutionInput, with the names that are allowed."""
    if not isinstance(name, str) or name not in allowed:
        raise InvalidExecutionInput(f"{where} names {shown(name)}, which is not {what}; allowed: {', '.join(allowed) or 'none'}")


def rule_parameters(document: object, judging: Collection[str]) -> dict[str, dict[str, str]]:
    """Rule -> parameter -> value as text, for rules that judge the job."""
    if not isinstance(document, Mapping):
        raise InvalidExecutionInput(f"rules.parameters must be a JSON object of rules, got {shown(document)}")
    for rule in document:
        require_known(rule, "rules.parameters", judging, "among the rules to evaluate")
    return {rule: parameters_of(rule, values) for rule, values in document.items()}


def parameters_of(rule: str, values: object) -> dict[str, str]:
    """Parameter -> value as text, of one rule."""
    where, defaults = f"rules.parameters.{rule}", (DEBUG_RULES | PROFILER_RULES)[rule]
    if not isinstance(values, Mapping):
        raise InvalidExecutionInput(f"{where} must be a JSON object of {', '.join(defaults) or 'nothing'}, got {shown(values)}")
    for name in values:
        require_known(name, where, defaults, f"a parameter of {rule}")
    return {name: parameter_text(rule, name, value, defaults[name]) for name, value in values.items()}
