"""What parameters of rules may be, held against the rules themselves: what is taken here, no rule stumbles over."""

import logging
import re
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest

from lambdas.request import rule_parameters
from lambdas.request.input_values import InvalidExecutionInput
from lambdas.request.rules import Rules
from training.contract.rules import DEBUG_RULES, INVOKED, PROFILER_RULES, job_parameters
from training.profiler.rules import profiler_report
from training.rule_evaluation import builtin
from training.rule_evaluation.builtin import ConfigurationError, build_rule
from training.rules import loss_not_decreasing
from training.rules.saved_tensors import split_names

DEBUG = [(rule, name) for rule, names in DEBUG_RULES.items() if rule != "SimilarAcrossRuns" for name in names]
PROFILER = [(rule, name) for rule, names in PROFILER_RULES.items() for name in names]
VALUES = (
    *("2.5", "abc", "-4", "banana", "(", "a,(b,c)", "1_0", "None", "nan", "inf", "1e999", "0", "1", "2", "3.0", "1e3", "1e-3", "-0.5"),
    *("True", "false", "EVAL", "TRAIN", "GLOBAL", "eval", ".*", "\u0661", " 1", str(10**30), 2.5, -4, 3.0, True, 10**30),
)
FEWEST = 2
"""Values out of VALUES that each parameter takes."""


class Trial:
    """What a rule's constructor looks at of a trial."""

    logger = logging.getLogger("a trial")


def taken(rule: str, name: str) -> list[str]:
    """The texts that the API would get of VALUES."""
    evaluated = {"evaluate": [rule]} if rule in DEBUG_RULES else {}
    texts = []
    for value in VALUES:
        try:
            made = Rules.parse({**evaluated, "parameters": {rule: {name: value}}}, "all", "managed")
        except InvalidExecutionInput:
            continue
        texts.append(made.parameters[rule][name])
    return texts


def kind(rule: str, name: str) -> Any:
    """The type that the rule's own definition gives a parameter."""
    if rule in PROFILER_RULES:
        hint = get_type_hints(profiler_report.RULES[rule])[name]
    else:
        hint = get_type_hints(builtin.RULES[INVOKED.get(rule, rule)].__init__)[name]
    kinds = {each for each in get_args(hint) or (hint,) if each in (str, int, float, bool)}
    assert len(kinds) == 1, hint
    return kinds.pop()


@pytest.mark.parametrize(("rule", "name"), [*DEBUG, *PROFILER])
def test_every_parameter_is_of_the_kind_that_its_rule_has(rule: str, name: str) -> None:
    truth, text = name in rule_parameters.TRUTHS, name in (*rule_parameters.REGEXES, *rule_parameters.WORDS, "mode")
    ours = bool if truth else str if text else int if name in rule_parameters.LEAST else float
    assert ours is kind(rule, name)


@pytest.mark.parametrize(("rule", "name"), DEBUG)
def test_a_debugger_rule_takes_what_is_taken_here(rule: str, name: str) -> None:
    texts = taken(rule, name)
    assert len(set(texts)) >= FEWEST
    for text in texts:
        made = build_rule(Trial(), {"RuleConfigurationName": rule, "RuleParameters": {**job_parameters(rule, 20), name: text}})
        assert isinstance(made, builtin.RULES[INVOKED.get(rule, rule)])
        if name in rule_parameters.REGEXES:
            assert all(re.compile(part) for part in split_names(text))


@pytest.mark.parametrize(("rule", "name"), DEBUG)
def test_what_a_debugger_rule_refuses_is_refused_here(rule: str, name: str) -> None:
    texts = taken(rule, name)
    for value in VALUES:
        parameters = {**job_parameters(rule, 20), name: str(value)}
        try:
            build_rule(Trial(), {"RuleConfigurationName": rule, "RuleParameters": parameters})
        except ConfigurationError:
            assert str(value) not in texts


@pytest.mark.parametrize(("rule", "name"), PROFILER)
def test_a_profiler_rule_takes_what_is_taken_here_as_the_kind_it_has(rule: str, name: str) -> None:
    texts = taken(rule, name)
    assert len(set(texts)) >= FEWEST
    for text in texts:
        made = profiler_report.RULES[rule].from_parameters({name: text})
        (field,) = [each for each in fields(made) if each.name == name]
        value = getattr(made, name)
        assert isinstance(value, (int, float) if kind(rule, name) is float else kind(rule, name)), field
        assert isinstance(value, str) or value >= 0


def test_the_modes_are_the_rules_own() -> None:
    assert rule_parameters.MODES["LossNotDecreasing"] == loss_not_decreasing.MODES


@pytest.mark.parametrize("value", [1000, 1000.0, "1000", "1000.0", "1e3"])
def test_a_count_is_written_in_digits(value: object) -> None:
    """AWS's rules read it as an int."""
    assert rule_parameters.parameter_text("Overfit", "patience", value, "1") == "1000"


@pytest.mark.parametrize("value", ["-9.5", 17, "1e-3"])
def test_a_limit_of_activations_may_be_below_zero(value: object) -> None:
    assert rule_parameters.parameter_text("SaturatedActivation", "threshold_tanh_min", value, "-9.4999") == str(value)


def test_a_variance_always_has_a_limit() -> None:
    """AWS's defaults give it none, our jobs do; a word that would take it away is no number."""
    assert {"max_threshold", "min_threshold"} & job_parameters("TensorVariance", 1).keys()
    assert set(taken("TensorVariance", "max_threshold")) & {"None", "", "nan", "inf"} == set()
