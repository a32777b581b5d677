"""The rules that evaluate the final training job, and what their findings do: the `rules` object of the execution input.

Runs inside `prepare_execution`; standard library only.

    Rules.parse({}, trainable="head", debugger="embedded")                                    # the defaults
    Rules.parse({"stop_training": ["ExplodingTensor"]}, trainable="head", debugger="managed")
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self
from urllib.parse import quote

from lambdas.request.input_values import InvalidExecutionInput, read_field, require_known_keys
from lambdas.request.rule_parameters import parameter_text
from training.contract.fields import Kind, Schema, declare, shown
from training.contract.limits import LONGEST_HYPERPARAMETER
from training.contract.rules import BLOCKING, DEBUG_RULES, FINDING_RULES, PROFILER_RULES, RULES, default_rules


def name_kind(allowed: Sequence[str], cell: str) -> Kind:
    """A list of rule names; which of these rules are evaluated depends on other fields."""
    return Kind(
        schema={"type": "array", "items": {"enum": list(allowed)}},
        allowed='a list of rule names, such as ["Overfit"]',
        cell=cell,
        accepts=lambda value: isinstance(value, list | tuple),
        convert=tuple,
    )


def parameter_schema(names: Collection[str]) -> Schema:
    """An object of a rule's parameters."""
    return {"type": "object", "properties": {name: {"$ref": "#/$defs/parameter"} for name in names}, "additionalProperties": False}


PARAMETERS_KIND = Kind(
    schema={
        "type": "object",
        "properties": {rule: parameter_schema(defaults) for rule, defaults in RULES.items()},
        "additionalProperties": False,
    },
    allowed="a JSON object of rules",
    cell="`{rule: {parameter: value}}` of these rules",
    accepts=lambda value: isinstance(value, Mapping),
    convert=dict,
)


@dataclass(frozen=True)
class Rules:
    """The rules that evaluate the final training job, and what their findings do."""

    evaluate: tuple[str, ...] = declare(default_rules("head"), name_kind(list(DEBUG_RULES), "debugger rules"))
    """Debugger rules. The default suits what is trained: unless `trainable` is `head`, also `VanishingGradient`, `DeadRelu`,
    `PoorWeightInitialization` and `CheckInputImages`."""

    stop_training: tuple[str, ...] = declare((), name_kind(list(DEBUG_RULES), "debugger rules that are evaluated"))
    """Debugger rules that end the training when they find an issue."""

    block_deployment: tuple[str, ...] = declare(
        BLOCKING,
        name_kind(
            FINDING_RULES, "debugger rules that are evaluated, profiler rules except `OverallSystemUsage`, `OverallFrameworkMetrics`"
        ),
    )
    """Debugger or profiler rules that keep the model from being deployed when they find an issue."""

    parameters: dict[str, dict[str, str]] = field(default_factory=dict, metadata={"kind": PARAMETERS_KIND, "also": ""})
    """Parameters of debugger or profiler rules that differ from the defaults."""

    @classmethod
    def parse(cls, document: object, trainable: str, debugger: str) -> Self:
        """Read the `rules` object; raise InvalidExecutionInput."""
        given = require_known_keys(document, cls, "rules")
        if debugger == "off":
            return cls.refuse_all(given)
        evaluate = read_names({"evaluate": default_rules(trainable), **given}, "evaluate", DEBUG_RULES, "a debugger rule")
        evaluated = (*evaluate, *PROFILER_RULES)
        blocking = {"block_deployment": [rule for rule in BLOCKING if rule in evaluate], **given}
        finding = [rule for rule in evaluated if rule in FINDING_RULES]
        rules = cls(
            evaluate=evaluate,
            stop_training=read_names(given, "stop_training", evaluate, "among the debugger rules to evaluate"),
            block_deployment=read_names(blocking, "block_deployment", finding, "among the rules to evaluate that find issues"),
            parameters=read_parameters(given.get("parameters", {}), evaluated),
        )
        rules.require_other_trials(debugger)
        rules.require_short()
        return rules

    @classmethod
    def refuse_all(cls, given: Mapping[str, Any]) -> Self:
        """Return no rules, for a debugger that is off; refuse any that are given."""
        for key, value in given.items():
            if value not in ([], (), {}):
                raise InvalidExecutionInput(
                    f'rules.{key} must be left out where debugger is "off", got {shown(value)}: no rule is evaluated then; '
                    'leave it out, or set debugger to "embedded" or "managed"'
                )
        return cls(evaluate=(), block_deployment=())

    def require_other_trials(self, debugger: str) -> None:
        """Refuse SimilarAcrossRuns, which reads tensors of other jobs, where it cannot reach them."""
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
        """Refuse more parameters than a hyperparameter holds."""
        length = len(self.hyperparameter)
        if length > LONGEST_HYPERPARAMETER:
            raise InvalidExecutionInput(
                f"rules must be at most {LONGEST_HYPERPARAMETER:,} characters when written as a hyperparameter, got {length:,}; "
                "leave parameters out that are at their defaults, or shorten their values"
            )

    @property
    def hyperparameter(self) -> str:
        """What the training job needs of it: JSON, percent-encoded because the training toolkit starts the program through a shell."""
        members = {key: value for key, value in asdict(self).items() if key != "block_deployment"}
        return quote(json.dumps(members, separators=(",", ":")), safe=",:")


def read_names(given: Mapping[str, Any], key: str, allowed: Collection[str], what: str) -> tuple[str, ...]:
    """Return distinct names out of those allowed."""
    names = read_field(Rules, given, "rules", key)
    for name in names:
        require_known(name, f"rules.{key}", allowed, what)
    return tuple(dict.fromkeys(names))


def require_known(name: object, where: str, allowed: Collection[str], what: str) -> None:
    """Refuse a name that is not allowed."""
    if not isinstance(name, str) or name not in allowed:
        raise InvalidExecutionInput(f"{where} names {shown(name)}, which is not {what}; allowed: {', '.join(allowed) or 'none'}")


def read_parameters(document: object, evaluated: Collection[str]) -> dict[str, dict[str, str]]:
    """Return rule -> parameter -> value as text, for rules that are evaluated."""
    if not isinstance(document, Mapping):
        raise InvalidExecutionInput(f"rules.parameters must be {PARAMETERS_KIND.allowed}, got {shown(document)}")
    for rule in document:
        require_known(rule, "rules.parameters", evaluated, "among the rules to evaluate")
    return {rule: read_parameters_of(rule, values) for rule, values in document.items()}


def read_parameters_of(rule: str, values: object) -> dict[str, str]:
    """Return parameter -> value as text, of one rule."""
    where, defaults = f"rules.parameters.{rule}", RULES[rule]
    if not isinstance(values, Mapping):
        raise InvalidExecutionInput(f"{where} must be a JSON object of {', '.join(defaults) or 'nothing'}, got {shown(values)}")
    for name in values:
        require_known(name, where, defaults, f"a parameter of {rule}")
    return {name: parameter_text(rule, name, value, defaults[name]) for name, value in values.items()}
