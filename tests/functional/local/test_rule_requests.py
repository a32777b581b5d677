"""What the SageMaker plane says to a request for Debugger and Profiler before it takes it."""

from typing import Any

import pytest

from local.api.errors import ServiceError
from local.api.validation import validate
from local.jobs import rule_requests
from local.jobs.rule_requests import check_debugger_request, is_profiled
from local.jobs.rule_statuses import make_statuses
from tests.fixtures.local.watched_jobs import AS_THE_SDK_WRITES_IT, IMAGE, rule, watched
from training.contract import rules


def test_the_tables_name_the_rules_that_the_programs_judge() -> None:
    assert set(rule_requests.DEBUG_RULES) == {rules.INVOKED.get(rule, rule) for rule in rules.DEBUG_RULES}
    assert set(rule_requests.PROFILER_RULES) == set(rules.PROFILER_RULES)


@pytest.mark.parametrize("action", [AS_THE_SDK_WRITES_IT, '{"name": "StopTraining"}', '[{"name": "stoptraining", "parameters": {}}]', ""])
def test_a_whole_request_is_taken(action: str) -> None:
    stalled = rule("StalledTrainingRule", stop_training_on_fire="True", training_job_name_prefix="watched")
    request = watched(DebugRuleConfigurations=[rule("Overfit", action_json=action), stalled])
    validate("CreateTrainingJob", request)
    check_debugger_request(request)
    assert is_profiled(request) and not is_profiled({"ProfilerConfig": {"DisableProfiler": True}}) and not is_profiled({})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"ProfilerConfig": {"DisableProfiler": True}}, "ProfilerConfig.DisableProfiler is true: remove the rules, or enable the"),
        ({"ProfilerConfig": {}}, "ProfilerConfig.S3OutputPath is required unless DisableProfiler is true"),
        (
            {"ProfilerConfig": {"S3OutputPath": "s3://b/p", "ProfilingIntervalInMilliseconds": 250}},
            "Value '250' at 'profilerConfig.profilingIntervalInMilliseconds' failed to satisfy constraint: Member must be one of [100",
        ),
        ({"DebugHookConfig": None}, "DebugRuleConfigurations without DebugHookConfig"),
        (
            {"DebugRuleConfigurations": [rule("AllZero"), rule("AllZero")]},
            "must be unique within a training job: 'AllZero' is given 2 times",
        ),
        (
            {"ProfilerRuleConfigurations": [{**rule("BatchSize"), "RuleConfigurationName": "Overfit"}]},
            "must be unique within a training job: 'Overfit' is given 2 times",
        ),
        (
            {"DebugRuleConfigurations": [rule("TreeDepth")]},
            "[TreeDepth].RuleParameters.rule_to_invoke 'TreeDepth' is not supported in local mode",
        ),
        (
            {"DebugRuleConfigurations": [rule("BatchSize")]},
            "rule_to_invoke 'BatchSize' is not supported here: move it to Profiler",
        ),
        ({"DebugRuleConfigurations": [{**rule("AllZero"), "RuleParameters": {}}]}, "rule_to_invoke None is not supported in local mode"),
        (
            {"DebugRuleConfigurations": [rule("AllZero", IMAGE.replace("-rules", "-rule-evaluator"))]},
            "sagemaker-debugger-rule-evaluator:latest' is not supported in local mode: supported: the built-in rules of",
        ),
        (
            {"DebugRuleConfigurations": [rule("AllZero", "sagemaker-debugger-rules")]},
            "RuleEvaluatorImage 'sagemaker-debugger-rules' is not",
        ),
        ({"DebugRuleConfigurations": [rule("AllZero", action_json='{"name": "email"}')]}, "action_json 'email' is not supported"),
        ({"DebugRuleConfigurations": [rule("AllZero", action_json="stop")]}, "[AllZero].RuleParameters.action_json is not JSON"),
        ({"DebugRuleConfigurations": [rule("AllZero", action_json="[1]")]}, "action_json contains 1: it must be an object"),
        (
            {"DebugRuleConfigurations": [rule("AllZero", action_json='{"name": "stoptraining", "training_job_prefix": "other"}')]},
            "training_job_prefix 'other' is not supported in local mode, where a rule stops only its own job: give a prefix",
        ),
        (
            {"DebugRuleConfigurations": [rule("AllZero", action_json='{"name": "stoptraining", "parameters": "x"}')]},
            "[AllZero].RuleParameters.action_json has the parameters 'x': they must be an object",
        ),
        (
            {"DebugRuleConfigurations": [rule("AllZero", action_json='{"name": "stoptraining", "parameters": null}')]},
            "[AllZero].RuleParameters.action_json has the parameters None: they must be an object",
        ),
        (
            {"DebugRuleConfigurations": [rule("StalledTrainingRule", training_job_name_prefix="other")]},
            "[StalledTrainingRule].RuleParameters.training_job_name_prefix 'other' is not supported in local mode",
        ),
        ({"DebugRuleConfigurations": [{**rule("AllZero"), "LocalPath": "/x"}]}, "[AllZero].LocalPath is not supported"),
        ({"ProfilerRuleConfigurations": [{**rule("BatchSize"), "S3OutputPath": "s3://b/x"}]}, "[BatchSize].S3OutputPath is not supported"),
    ],
)
def test_a_request_that_cannot_be_honoured_is_refused_with_the_field_named(fields: dict[str, Any], sentence: str) -> None:
    request = {name: value for name, value in watched(**fields).items() if value is not None}
    with pytest.raises(ServiceError) as caught:
        check_debugger_request(request)
    assert caught.value.code == "ValidationException" and sentence in caught.value.message


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"DebugRuleConfigurations": [rule(f"r{number}") for number in range(21)]}, "length less than or equal to 20"),
        ({"DebugRuleConfigurations": [rule("r", other="x" * 257)]}, "length less than or equal to 256"),
        ({"DebugRuleConfigurations": [{**rule("r"), "RuleParameters": {"num_steps": 3}}]}, "it must be a String"),
        ({"ProfilerConfig": {"S3OutputPath": "b/p"}}, "regular expression pattern"),
    ],
)
def test_the_models_limits_hold(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ServiceError, match=sentence):
        validate("CreateTrainingJob", watched(**fields))


def test_a_new_job_is_described_with_its_rules_in_progress() -> None:
    request = watched(TrainingJobName="tensorflow-training-2021-06-14")
    members = make_statuses(request, 7.0)
    assert members["ProfilingStatus"] == "Enabled" and len(members["DebugRuleEvaluationStatuses"]) == 2
    (report,) = members["ProfilerRuleEvaluationStatuses"]
    start = "arn:aws:sagemaker:us-east-1:000000000000:processing-job/tensorflow-training-2021-0-profilerreport-"
    assert report.pop("RuleEvaluationJobArn").startswith(start)
    assert report == {"RuleConfigurationName": "ProfilerReport", "RuleEvaluationStatus": "InProgress", "LastModifiedTime": 7.0}
    assert make_statuses({"TrainingJobName": "plain"}, 7.0) == {"ProfilingStatus": "Disabled"}
