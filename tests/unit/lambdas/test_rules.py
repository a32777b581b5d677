"""The rules of the execution input: every refusal, and the JSON that a managed job is asked with."""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdas.planning import rule_images
from lambdas.planning.managed_rules import debug_rule_configurations, profiler_rule_configurations
from lambdas.request.execution_input import ExecutionInput
from lambdas.request.input_values import InvalidExecutionInput
from lambdas.request.rules import Rules
from training.contract import rules
from training.contract.choices import DEBUGGER_MODES, TRAINABLE
from training.contract.limits import LONGEST_HYPERPARAMETER

IMAGE = "1.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"
JOBS = "whippet-261122160000-0a1b-train-"


def parsed(debugger: str = "embedded", trainable: str = "head", **given: Any) -> Rules:
    return Rules.parse(given, trainable, debugger)


def test_a_request_has_no_more_rules_than_the_service_takes() -> None:
    assert len(rules.DEBUG_RULES) <= 20
    assert len(rules.PROFILER_RULES) <= 20


def test_the_image_accounts_are_those_of_the_sdk() -> None:
    package = importlib.util.find_spec("sagemaker")
    assert package is not None
    (folder,) = [Path(each) for each in package.submodule_search_locations or []]
    (version,) = json.loads((folder / "core" / "image_uri_config" / "debugger.json").read_text())["versions"].items()
    assert version == (rule_images.TAG, {"registries": rule_images.ACCOUNTS, "repository": rule_images.REPOSITORY})
    assert len(rule_images.ACCOUNTS) == 24


@pytest.mark.parametrize(
    ("region", "image"),
    [
        ("us-east-1", "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"),
        ("cn-north-1", "618459771430.dkr.ecr.cn-north-1.amazonaws.com.cn/sagemaker-debugger-rules:latest"),
        ("us-gov-west-1", "515509971035.dkr.ecr.us-gov-west-1.amazonaws.com/sagemaker-debugger-rules:latest"),
        ("eu-central-2", None),
    ],
)
def test_the_image_of_a_region(region: str, image: str | None) -> None:
    assert rule_images.rules_image(region) == image


def test_the_defaults_follow_what_is_trained() -> None:
    assert parsed() == Rules() == ExecutionInput.parse({}).rules
    assert "DeadRelu" not in parsed().evaluate
    assert "DeadRelu" in ExecutionInput.parse({"trainable": "all"}).rules.evaluate


def test_a_rule_that_is_not_evaluated_blocks_nothing_by_default() -> None:
    assert parsed(evaluate=["Overfit", "ExplodingTensor"]).block_deployment == ("ExplodingTensor",)
    assert parsed(evaluate=[]).block_deployment == ()
    assert parsed(block_deployment=[]).block_deployment == ()


def test_what_is_given_is_taken() -> None:
    asked = parsed(
        evaluate=["Overfit", "AllZero", "Overfit"],
        stop_training=["AllZero"],
        block_deployment=["Overfit", "LowGPUUtilization"],
        parameters={"Overfit": {"ratio_threshold": 0.5, "patience": 2.0, "tensor_regex": "loss.*"}, "CPUBottleneck": {"threshold": "60"}},
    )
    assert asdict(asked) == {
        "evaluate": ("Overfit", "AllZero"),
        "stop_training": ("AllZero",),
        "block_deployment": ("Overfit", "LowGPUUtilization"),
        "parameters": {
            "Overfit": {"ratio_threshold": "0.5", "patience": "2", "tensor_regex": "loss.*"},
            "CPUBottleneck": {"threshold": "60"},
        },
    }


@pytest.mark.parametrize("value", [True, "true", "True"])
def test_a_truth_value_is_written_as_the_service_has_it(value: object) -> None:
    assert parsed(parameters={"ExplodingTensor": {"only_nan": value}}).parameters == {"ExplodingTensor": {"only_nan": "True"}}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"evaluate": "Overfit"}, "rules.evaluate must be a list of rule names, such as [\"Overfit\"], got 'Overfit'"),
        ({"evaluate": ["Overfitt"]}, "rules.evaluate names 'Overfitt', which is not a debugger rule; allowed: VanishingGradient,"),
        ({"evaluate": ["CPUBottleneck"]}, "rules.evaluate names 'CPUBottleneck', which is not a debugger rule"),
        ({"evaluate": [["Overfit"]]}, "rules.evaluate names ['Overfit'], which is not a debugger rule"),
        ({"evaluate": ["TreeDepth"]}, "which is not a debugger rule"),
        ({"stop_training": ["DeadRelu"]}, "rules.stop_training names 'DeadRelu', which is not among the debugger rules to evaluate"),
        ({"stop_training": ["CPUBottleneck"]}, "rules.stop_training names 'CPUBottleneck'"),
        ({"evaluate": [], "stop_training": ["Overfit"]}, "allowed: none"),
        ({"block_deployment": ["DeadRelu"]}, "rules.block_deployment names 'DeadRelu', which is not among the rules to evaluate"),
        ({"parameters": ["Overfit"]}, "rules.parameters must be a JSON object of rules, got ['Overfit']"),
        ({"parameters": {"DeadRelu": {}}}, "rules.parameters names 'DeadRelu', which is not among the rules to evaluate"),
        ({"parameters": {"Overfit": 5}}, "rules.parameters.Overfit must be a JSON object of tensor_regex, start_step,"),
        (
            {"parameters": {"Overfit": {"ratio": 1}}},
            "rules.parameters.Overfit names 'ratio', which is not a parameter of Overfit; allowed: tensor_regex, start_step,",
        ),
        ({"parameters": {"Overfit": {"patience": "many"}}}, "patience must be a whole number of at least 0 (default 1), got 'many'"),
        ({"parameters": {"Overfit": {"ratio_threshold": "nan"}}}, "Overfit.ratio_threshold must be a number, not below zero"),
        ({"parameters": {"Overfit": {"patience": True}}}, "must be a whole number of at least 0 (default 1), got True"),
        ({"parameters": {"UnchangedTensor": {"num_steps": 2.5}}}, "must be a whole number of at least 2 (default 3), got 2.5"),
        ({"parameters": {"WeightUpdateRatio": {"num_steps": "abc"}}}, "must be a whole number of at least 1, got 'abc'"),
        ({"parameters": {"LowGPUUtilization": {"patience": 1.5}}}, "must be a whole number of at least 0 (default 1000), got 1.5"),
        ({"parameters": {"LowGPUUtilization": {"window": -4}}}, "must be a whole number of at least 1 (default 500), got -4"),
        ({"parameters": {"LossNotDecreasing": {"num_steps": 10**20}}}, "must be a whole number of at least 1 (default 10), got 1000"),
        ({"parameters": {"LossNotDecreasing": {"mode": "banana"}}}, "must be one of EVAL, TRAIN, GLOBAL, got 'banana'"),
        ({"parameters": {"StepOutlier": {"mode": "GLOBAL"}}}, "must be one of EVAL, TRAIN, got 'GLOBAL'"),
        ({"parameters": {"Overfit": {"tensor_regex": "("}}}, "must be a regular expression, or several separated by commas, got '('"),
        ({"parameters": {"Overfit": {"tensor_regex": "loss,(a,b)"}}}, "must be a regular expression, or several separated by commas"),
        ({"parameters": {"UnchangedTensor": {"rtol": "1_0"}}}, "must be a number, not below zero (default 1e-05), got '1_0'"),
        ({"parameters": {"UnchangedTensor": {"rtol": -1}}}, "must be a number, not below zero (default 1e-05), got -1"),
        ({"parameters": {"TensorVariance": {"max_threshold": "None"}}}, "must be a number, not below zero, got 'None'"),
        ({"parameters": {"Overfit": {"patience": None}}}, "must be a number, true, false, or one line of 1 to 256 characters, got None"),
        ({"parameters": {"Overfit": {"patience": [1]}}}, "one line of 1 to 256 characters, got [1]"),
        ({"parameters": {"Overfit": {"tensor_regex": ""}}}, "one line of 1 to 256 characters, got ''"),
        ({"parameters": {"Overfit": {"tensor_regex": "a\nb"}}}, "one line of 1 to 256 characters"),
        ({"parameters": {"Overfit": {"tensor_regex": "x" * 257}}}, "one line of 1 to 256 characters"),
        ({"parameters": {"ExplodingTensor": {"only_nan": 1}}}, "ExplodingTensor.only_nan must be true or false (default False), got 1"),
        *[
            ({"block_deployment": [rule]}, f"names '{rule}', which is not among the rules to evaluate that find issues; allowed: LossNot")
            for rule in ("OverallSystemUsage", "OverallFrameworkMetrics")
        ],
        ({"evaluate": ["SimilarAcrossRuns"]}, 'a job that has no network; leave it out, or set debugger to "managed"'),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_a_sentence(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidExecutionInput) as refused:
        parsed(**asked)
    assert sentence in str(refused.value)
    assert len(str(refused.value)) < 600


def test_other_jobs_tensors_are_compared_where_they_are_named_and_can_be_reached() -> None:
    where = {"SimilarAcrossRuns": {"other_trials": "s3://bucket/executions/1/training/2/debug-output/"}}
    assert parsed("managed", evaluate=["SimilarAcrossRuns"], parameters=where).parameters == where
    with pytest.raises(InvalidExecutionInput, match=r"give rules\.parameters\.SimilarAcrossRuns\.other_trials, such as"):
        parsed("managed", evaluate=["SimilarAcrossRuns"])


def test_without_a_debugger_there_are_no_rules() -> None:
    assert parsed("off") == parsed("off", evaluate=[], stop_training=[], block_deployment=[], parameters={}) == Rules((), (), (), {})
    with pytest.raises(InvalidExecutionInput, match=r'rules\.evaluate must be left out where debugger is "off", got \[\'Overfit\'\]'):
        parsed("off", evaluate=["Overfit"])


def test_more_parameters_than_a_hyperparameter_holds_are_refused() -> None:
    long = {
        rule: {"tensor_regex": "x" * 256, "collection_names": "y" * 256} for rule in ("LossNotDecreasing", "AllZero", "ExplodingTensor")
    }
    assert len(parsed(parameters=long).hyperparameter) <= LONGEST_HYPERPARAMETER
    longer = {**long, "UnchangedTensor": long["AllZero"]}
    with pytest.raises(InvalidExecutionInput, match=r"at most 2,500 characters when written as a hyperparameter, got 2,\d\d\d"):
        parsed(parameters=longer)


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_all_rules_with_a_word_each_fit_into_a_hyperparameter(trainable: str) -> None:
    every = [rule for rule in rules.DEBUG_RULES if rule != "SimilarAcrossRuns"]
    some = {rule: {name: default or "1" for name, default in list(rules.DEBUG_RULES[rule].items())[:1]} for rule in every}
    assert parsed(trainable=trainable, evaluate=every, stop_training=every, parameters=some).evaluate == tuple(every)


def test_the_hyperparameter_can_be_read_in_the_console() -> None:
    asked = parsed(evaluate=["Overfit"], parameters={"Overfit": {"patience": 3}})
    named, told = "%7B%22evaluate%22:%5B%22Overfit%22%5D,", "%22parameters%22:%7B%22Overfit%22:%7B%22patience%22:%223%22%7D%7D%7D"
    assert asked.hyperparameter == f"{named}%22stop_training%22:%5B%5D,{told}"


def test_a_managed_job_is_asked_for_the_rules_with_strings_only() -> None:
    theirs = {"Overfit": {"ratio_threshold": 0.5}}
    asked = parsed("managed", evaluate=["Overfit", "LossNotDecreasing", "StalledTraining"], parameters=theirs, stop_training=["Overfit"])
    assert debug_rule_configurations(asked, 20, IMAGE, JOBS) == (
        {
            "RuleConfigurationName": "Overfit",
            "RuleEvaluatorImage": IMAGE,
            "RuleParameters": {
                "rule_to_invoke": "Overfit",
                **rules.job_parameters("Overfit", 20),
                "ratio_threshold": "0.5",
                "action_json": rules.write_stop_action(JOBS),
            },
        },
        {
            "RuleConfigurationName": "LossNotDecreasing",
            "RuleEvaluatorImage": IMAGE,
            "RuleParameters": {"rule_to_invoke": "LossNotDecreasing", **rules.job_parameters("LossNotDecreasing", 20)},
        },
        {
            "RuleConfigurationName": "StalledTraining",
            "RuleEvaluatorImage": IMAGE,
            "RuleParameters": {"rule_to_invoke": "StalledTrainingRule", **rules.job_parameters("StalledTraining", 20)},
        },
    )


@pytest.mark.parametrize(
    ("theirs", "prefix"),
    [
        ({"stop_training_on_fire": True}, JOBS),
        ({"stop_training_on_fire": "true", "training_job_name_prefix": "another-"}, "another-"),
        ({"stop_training_on_fire": False}, None),
        ({}, None),
    ],
)
def test_a_stalled_training_that_is_to_be_stopped_is_named(theirs: dict[str, Any], prefix: str | None) -> None:
    asked = parsed("managed", evaluate=["StalledTraining"], parameters={"StalledTraining": theirs})
    (made,) = debug_rule_configurations(asked, 20, IMAGE, JOBS)
    assert made["RuleParameters"].get("training_job_name_prefix") == prefix


def test_a_parameter_of_the_user_counts_more_than_one_of_ours() -> None:
    theirs = {"LossNotDecreasing": {"num_steps": 4}}
    asked = parsed("managed", "all", parameters=theirs)
    given = {each["RuleConfigurationName"]: each["RuleParameters"] for each in debug_rule_configurations(asked, 20, IMAGE, JOBS)}
    assert rules.job_parameters("LossNotDecreasing", 20).keys() >= {"num_steps"}
    assert given["LossNotDecreasing"]["num_steps"] == "4"


def test_a_managed_job_is_judged_with_the_same_parameters_as_an_embedded_one() -> None:
    theirs = {"Overfit": {"patience": "2"}, "CPUBottleneck": {"threshold": "60"}}
    for trainable in TRAINABLE:
        asked = parsed("managed", trainable, parameters=theirs)
        made = [*debug_rule_configurations(asked, 5, IMAGE, JOBS), *profiler_rule_configurations(asked, 5, IMAGE)]
        embedded = [*rules.configurations(trainable, 5, parameters=theirs), *rules.profiler_configurations(5, theirs)]
        managed = {each["RuleConfigurationName"]: each["RuleParameters"] for each in made}
        managed["ProfilerReport"] = {name: value for name, value in managed["ProfilerReport"].items() if name == "rule_to_invoke"}
        assert managed == {each["RuleConfigurationName"]: each["RuleParameters"] for each in embedded}


def test_a_managed_job_is_asked_for_the_report_and_for_every_single_profiler_rule() -> None:
    asked = parsed("managed", parameters={"CPUBottleneck": {"threshold": 60}})
    made = profiler_rule_configurations(asked, 20, IMAGE)
    assert {each["RuleConfigurationName"] for each in made} == set(rules.PROFILER_RULES)
    assert {each["RuleEvaluatorImage"] for each in made} == {IMAGE}
    given = {each["RuleConfigurationName"]: each["RuleParameters"] for each in made}
    assert [values["rule_to_invoke"] for values in given.values()] == list(given)
    assert given["CPUBottleneck"]["threshold"] == "60"
    assert given["ProfilerReport"]["CPUBottleneck_threshold"] == "60", "so that the report says what the rule says"


def test_the_stop_action_is_written_as_the_sdk_writes_it() -> None:
    from smdebug_rulesconfig.actions.actions import StopTraining  # type: ignore[import-untyped]

    action = StopTraining()
    action.update_training_job_prefix_if_not_specified(JOBS)
    assert rules.write_stop_action(JOBS) == action.serialize()


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
NAMES = st.lists(st.sampled_from([*rules.DEBUG_RULES, "CPUBottleneck", "Tree"]) | VALUES, max_size=4)
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "evaluate": NAMES,
        "stop_training": NAMES,
        "block_deployment": NAMES,
        "parameters": st.dictionaries(
            st.sampled_from(["Overfit", "ExplodingTensor", "CPUBottleneck"]),
            st.dictionaries(st.sampled_from(["patience", "only_nan", "threshold", "tensor_regex"]), VALUES, max_size=2),
            max_size=2,
        ),
    },
)


@settings(deadline=None)
@given(GIVEN, st.sampled_from(DEBUGGER_MODES), st.sampled_from(TRAINABLE))
def test_any_rules_are_either_parsed_or_refused(asked: Mapping[str, Any], debugger: str, trainable: str) -> None:
    try:
        made = Rules.parse(asked, trainable, debugger)
    except InvalidExecutionInput as refusal:
        assert "rules" in str(refusal)
        assert len(str(refusal)) < 700
    else:
        assert Rules.parse(json.loads(json.dumps(asdict(made))), trainable, debugger) == made
        texts = [text for values in made.parameters.values() for text in values.values()]
        assert all(isinstance(text, str) and 1 <= len(text) <= 256 for text in texts)
        assert replace(made, block_deployment=()).hyperparameter == made.hyperparameter
