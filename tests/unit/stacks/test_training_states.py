"""The states around the final training job: who judges it, how long rules are waited for, and what keeps its model from being deployed."""

import json
from typing import Any

import pytest

from stacks.state_machine.requests import LONGEST_SPOT_SECONDS, PROFILING_MILLISECONDS
from stacks.state_machine.training import (
    LATER_LOOK_SECONDS,
    LOOK_SECONDS,
    MOST_LOOKS,
    MOST_RULE_LOOKS,
    RULE_LOOK_SECONDS,
    SHORT_LOOKS,
    TRAINING_SECONDS,
)
from tests.fixtures.stacks.execution import SUBSTITUTED, Execution, TaskError
from tests.fixtures.stacks.fake_sagemaker import FEW_LOOKS, HEALTHY, LOOKS, MACHINE, asked_for, run, verdict
from training.contract import hyperparameters
from training.contract.rules import job_parameters

MANAGED = {"debugger": "managed"}
DEBUGGER_FIELDS = {"DebugHookConfig", "DebugRuleConfigurations", "ProfilerConfig", "ProfilerRuleConfigurations"}


def states_of_training(execution: Execution) -> list[str]:
    """Those that were visited from the choice of the debugger to the decision over the model, and its registration."""
    start, end = (execution.visited.index(name) for name in ("IsDebuggerManaged", "RegisterModel"))
    return execution.visited[start : end + 1]


def training_request(execution: Execution) -> dict[str, Any]:
    (request,) = [asked for action, asked in execution.requests if action.removesuffix(".sync") == "createTrainingJob"]
    return request


def looks(**statuses: str) -> dict[str, Any]:
    """One answer of DescribeTrainingJob: rule -> status; of ProfilerReport among the profiler's."""
    told = [verdict(rule, status) for rule, status in statuses.items()]
    profiler = [each for each in told if each["RuleConfigurationName"] == "ProfilerReport"]
    return {
        "DebugRuleEvaluationStatuses": [each for each in told if each not in profiler],
        "ProfilerRuleEvaluationStatuses": profiler,
    }


@pytest.mark.parametrize("debugger", ["embedded", "off"])
def test_a_job_that_judges_itself_asks_for_nothing_of_the_service(debugger: str) -> None:
    done = run({"debugger": debugger})
    assert states_of_training(done) == ["IsDebuggerManaged", "TrainModel", "IsRedriven", "AssessModel", "RegisterModel"]
    request = training_request(done)
    assert DEBUGGER_FIELDS & set(request) == set()
    assert request["HyperParameters"]["debugger"] == debugger
    assert asked_for(done, "describeTrainingJob") == []


def test_a_managed_job_is_waited_for_until_all_its_rules_have_ended() -> None:
    answers = [
        looks(Overfit="InProgress", ExplodingTensor="NoIssuesFound", ProfilerReport="InProgress"),
        looks(Overfit="IssuesFound", ExplodingTensor="NoIssuesFound", ProfilerReport="Stopping"),
        looks(Overfit="IssuesFound", ExplodingTensor="NoIssuesFound", ProfilerReport="NoIssuesFound"),
    ]
    done = run(MANAGED, describeTrainingJob=answers)
    look = ["DescribeTraining", "IsTrainingDone"]
    assert states_of_training(done) == [
        *["IsDebuggerManaged", "TrainModelManaged", "WaitForTraining", *look, "WaitForRules", *look, "WaitForRules", *look],
        *["IsRedriven", "AssessModel", "RegisterModel"],
    ]
    assert {each["TrainingJobName"] for each in asked_for(done, "describeTrainingJob")} == {done.output["training_job"]}
    assert done.output["rule_statuses"] == [verdict("Overfit", "IssuesFound"), verdict("ExplodingTensor")]
    assert done.output["profiler_rule_statuses"] == [verdict("ProfilerReport")]


@pytest.mark.parametrize("status", ["InProgress", "Stopping"])
@pytest.mark.parametrize("rule", ["ExplodingTensor", "ProfilerReport"])
def test_a_rule_that_never_ends_keeps_nothing_back_and_is_told(rule: str, status: str) -> None:
    """The training is done and paid for, and a rule that says nothing says nothing against it."""
    done = run(MANAGED, describeTrainingJob=[looks(**{rule: status, "UnchangedTensor": "NoIssuesFound"})] * 9)
    assert done.visited.count("WaitForRules") == LOOKS - 1
    assert done.output["deployed"] is True
    assert f"rule {rule} was still {status} when the execution went on without its verdict" in done.output["warnings"]


def test_waiting_for_rules_outlasts_the_service() -> None:
    """They end some minutes after the job; the report's page is made last."""
    assert RULE_LOOK_SECONDS * MOST_RULE_LOOKS >= 45 * 60


@pytest.mark.parametrize(
    "answer", [{"DebugRuleEvaluationStatuses": None}, {"DebugRuleEvaluationStatuses": [], "ProfilerRuleEvaluationStatuses": []}]
)
def test_a_managed_job_without_rules_is_not_waited_for(answer: dict[str, Any]) -> None:
    done = run({**MANAGED, "rules": {"evaluate": []}}, describeTrainingJob=[answer])
    assert "WaitForRules" not in done.visited
    assert (done.output["deployed"], done.output["rule_statuses"], done.output["profiler_rule_statuses"]) == (True, [], [])


def test_one_rule_stays_a_list() -> None:
    """JSONata makes a single value of a list that it has filtered to one."""
    done = run(MANAGED, describeTrainingJob=[looks(ExplodingTensor="NoIssuesFound")])
    assert done.output["rule_statuses"] == [verdict("ExplodingTensor")]
    handed = asked_for(done, "invoke")[1]["Payload"]
    assert handed["rule_statuses"] == [verdict("ExplodingTensor")]
    assert handed["profiler_rule_statuses"] == []


@pytest.mark.parametrize("debugger", ["embedded", "managed"])
def test_a_finding_of_a_blocking_rule_keeps_the_model_back(debugger: str) -> None:
    found = verdict("UnchangedTensor", "IssuesFound", "fc.weight stayed the same over 3 steps")
    done = run({"debugger": debugger}, verdicts=[HEALTHY[1], found])
    assert done.error == ""
    after = done.visited[done.visited.index("AssessModel") :]
    assert after == [
        "AssessModel",
        "RegisterModel",
        "ChooseDeployment",
        "SumUp",
        "PublishReport",
        "NotifyDone",
        "IsDeployed",
        "NotDeployed",
    ]
    assert done.output["deployed"] is False
    assert done.output["reasons"] == [
        "rule UnchangedTensor found an issue, and rules.block_deployment names it: fc.weight stayed the same over 3 steps"
    ]
    assert {"model", "endpoint", "endpoint_config"} & set(done.output) == set()
    for made in ("run", "dataset", "tuning_job", "training_job", "best", "model_artifact", "report", "debug_output", "rule_output"):
        assert done.output[made]
    assert {"createModel", "createEndpointConfig", "createEndpoint", "updateEndpoint"} & set(dict(done.requests)) == set()


def test_the_two_ends_tell_the_same_but_for_what_was_deployed() -> None:
    deployed, kept = run().output, run(verdicts=[verdict("ExplodingTensor", "IssuesFound")]).output
    assert set(deployed) - set(kept) == {"model", "endpoint", "endpoint_config"}
    assert set(kept) - set(deployed) == set()


@pytest.mark.parametrize(("block", "deployed"), [(["Overfit"], False), ([], True)])
def test_the_user_says_which_rules_block(block: list[str], deployed: bool) -> None:
    done = run({"rules": {"block_deployment": block}}, verdicts=[verdict("Overfit", "IssuesFound")])
    assert done.output["deployed"] is deployed


def test_a_managed_job_is_asked_for_as_the_api_has_it() -> None:
    """Every word of what is beside the fields of other training jobs, in the console as in here."""
    done = run({**MANAGED, "rules": {"evaluate": ["Overfit", "AllZero"], "parameters": {"Overfit": {"patience": 2}}}})
    request = training_request(done)
    folder = f"s3://whippet-data/executions/{done.output['run']}/training"
    image = "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"
    assert request["DebugHookConfig"] == {
        "S3OutputPath": folder,
        "CollectionConfigurations": [
            {"CollectionName": "losses"},
            {"CollectionName": "weights", "CollectionParameters": {"reductions": "min,max,mean,std,abs_mean,l2_norm"}},
            {"CollectionName": "gradients", "CollectionParameters": {"reductions": "min,max,mean,std,abs_mean,l2_norm"}},
            {"CollectionName": "relu_input", "CollectionParameters": {"include_regex": ".*relu_input"}},
            {"CollectionName": "relu_output", "CollectionParameters": {"include_regex": ".*relu_output"}},
            {"CollectionName": "labels", "CollectionParameters": {"include_regex": ".*labels"}},
            {"CollectionName": "predictions", "CollectionParameters": {"include_regex": ".*predictions"}},
            {"CollectionName": "images", "CollectionParameters": {"include_regex": ".*images"}},
        ],
    }
    assert request["DebugRuleConfigurations"] == [
        {
            "RuleConfigurationName": "Overfit",
            "RuleEvaluatorImage": image,
            "RuleParameters": {"rule_to_invoke": "Overfit", **job_parameters("Overfit", 20), "patience": "2"},
        },
        {
            "RuleConfigurationName": "AllZero",
            "RuleEvaluatorImage": image,
            "RuleParameters": {"rule_to_invoke": "AllZero", **job_parameters("AllZero", 20)},
        },
    ]
    assert request["ProfilerConfig"] == {"S3OutputPath": folder, "ProfilingIntervalInMilliseconds": 500}
    assert {each["RuleEvaluatorImage"] for each in request["ProfilerRuleConfigurations"]} == {image}
    assert request["ProfilerRuleConfigurations"][0]["RuleConfigurationName"] == "ProfilerReport"
    assert len(request["ProfilerRuleConfigurations"]) == 12


def test_the_profiling_interval_is_one_that_the_service_offers() -> None:
    """In the documentation only: the API's model has any whole number."""
    assert PROFILING_MILLISECONDS in (100, 200, 500, 1000, 5000, 60_000)


def test_a_managed_job_is_the_same_job_otherwise() -> None:
    embedded, managed = (training_request(run({"debugger": each})) for each in ("embedded", "managed"))
    assert set(managed) - set(embedded) == DEBUGGER_FIELDS
    same = set(embedded) - {"RoleArn", "HyperParameters", "TrainingJobName", "CheckpointConfig"}
    assert {name: managed[name] for name in same} == {name: embedded[name] for name in same}
    assert (embedded["RoleArn"], managed["RoleArn"]) == (SUBSTITUTED["TrainingRoleArn"], SUBSTITUTED["ManagedTrainingRoleArn"])
    assert {**managed["HyperParameters"], "debugger": "embedded"} == embedded["HyperParameters"]


@pytest.mark.parametrize("asked", [MANAGED, {}])
def test_tuned_jobs_have_no_debugger(asked: dict[str, Any]) -> None:
    (tuning,) = asked_for(run(asked), "createHyperParameterTuningJob.sync")
    static = tuning["TrainingJobDefinition"]["StaticHyperParameters"]
    assert (static["debugger"], hyperparameters.RULES in static) == ("off", False)
    assert DEBUGGER_FIELDS & set(tuning["TrainingJobDefinition"]) == set()


def test_what_the_rules_write_lies_where_the_output_says() -> None:
    """The service puts the job's name below each path, and rule-output below that of the artefact."""
    done = run(MANAGED)
    request, job = training_request(done), done.output["training_job"]
    assert done.output["debug_output"] == f"{request['DebugHookConfig']['S3OutputPath']}/{job}/debug-output/"
    assert done.output["profiler_output"] == f"{request['ProfilerConfig']['S3OutputPath']}/{job}/profiler-output/"
    assert done.output["rule_output"] == f"{request['OutputDataConfig']['S3OutputPath']}/{job}/rule-output/"
    assert done.output["debug_output"].startswith(request["CheckpointConfig"]["S3Uri"])


def test_a_rule_that_stops_the_training_names_this_executions_job() -> None:
    done = run({**MANAGED, "rules": {"stop_training": ["ExplodingTensor"]}})
    request = training_request(done)
    actions = {
        each["RuleConfigurationName"]: each["RuleParameters"]["action_json"]
        for each in request["DebugRuleConfigurations"]
        if "action_json" in each["RuleParameters"]
    }
    assert list(actions) == ["ExplodingTensor"]
    action = json.loads(actions["ExplodingTensor"].replace('\\"', '"'))
    assert action["name"] == "stoptraining"
    assert request["TrainingJobName"].startswith(action["training_job_prefix"])


def test_a_managed_job_is_waited_for_until_it_has_ended() -> None:
    going = [{"TrainingJobStatus": "InProgress", "ModelArtifacts": None, **looks(Overfit="InProgress")} for _ in range(3)]
    done = run(MANAGED, describeTrainingJob=[*going, {}])
    look = ["DescribeTraining", "IsTrainingDone"]
    assert states_of_training(done)[2:-3] == [*["WaitForTraining", *look] * FEW_LOOKS, *["WaitForLongTraining", *look] * 2]
    assert done.output["model_artifact"] == done.output["report"].replace("report/", "model.tar.gz")


def test_rules_are_waited_for_from_the_end_of_the_job_on() -> None:
    """However long the job took."""
    going = [{"TrainingJobStatus": "InProgress"}] * (LOOKS - 1)
    done = run(MANAGED, describeTrainingJob=[*going, *[looks(ExplodingTensor="InProgress")] * 9])
    assert done.visited.count("WaitForRules") == LOOKS - 1


def test_waiting_for_a_managed_job_outlasts_it_and_a_short_one_is_not_waited_for_long() -> None:
    waited = SHORT_LOOKS * LOOK_SECONDS + (MOST_LOOKS - SHORT_LOOKS) * LATER_LOOK_SECONDS
    assert LONGEST_SPOT_SECONDS < waited <= TRAINING_SECONDS
    assert LOOK_SECONDS < LATER_LOOK_SECONDS


def test_a_managed_job_that_takes_too_long_is_stopped() -> None:
    failed = run(MANAGED, describeTrainingJob=[{"TrainingJobStatus": "InProgress"}] * 9)
    name = training_request(failed)["TrainingJobName"]
    assert failed.visited[-5:] == ["CleanUp", "IsAnythingSpent", "PublishFailure", "NotifyFailed", "ExecutionFailed"]
    assert failed.error == "TrainModelManaged.Timeout"
    assert failed.cause.startswith(f"TrainModelManaged failed (training job {name}): it is still InProgress after {LOOKS} checks. Log:")


def test_a_job_that_a_rule_stopped_says_which() -> None:
    found = [verdict("ExplodingTensor", "IssuesFound"), verdict("Overfit"), verdict("AllZero", "IssuesFound")]
    described = {"TrainingJobStatus": "Stopped", "SecondaryStatus": "Stopped", "DebugRuleEvaluationStatuses": found}
    failed = run(MANAGED, describeTrainingJob=[described])
    name = training_request(failed)["TrainingJobName"]
    assert failed.error == "TrainModelManaged.TaskFailed"
    assert failed.cause == (
        f"TrainModelManaged failed (training job {name}): it ended as Stopped (Stopped), and these rules found an issue: "
        f"ExplodingTensor, AllZero. Log: CloudWatch log group /aws/sagemaker/TrainingJobs, log streams {name}*."
    )


def test_a_managed_job_that_fails_gives_its_reason() -> None:
    described = {"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: out of memory."}
    failed = run(MANAGED, describeTrainingJob=[described])
    assert failed.error == "TrainModelManaged.TaskFailed"
    assert "AlgorithmError: out of memory. Log: CloudWatch log group /aws/sagemaker/TrainingJobs" in failed.cause


def test_a_managed_job_whose_start_was_not_answered_is_stopped() -> None:
    failed = run(MANAGED, createTrainingJob=[TaskError("States.Timeout")] * 4)
    assert failed.error == "TrainModelManaged.Timeout"
    assert "CleanUp" in failed.visited, "it may be running"


def test_an_account_without_the_debugger_is_told_so() -> None:
    refused = [TaskError("SageMaker.SageMakerException", "Amazon SageMaker Debugger is not available to new customers.")] * 4
    failed = run(MANAGED, createTrainingJob=refused)
    assert failed.error == "SageMaker.SageMakerException"
    assert failed.cause.startswith("TrainModelManaged failed (training job whippet-")
    assert failed.cause.endswith("): Amazon SageMaker Debugger is not available to new customers.")


LOST = TaskError("SageMaker.SdkClientException", "Unable to execute HTTP request: connection reset")
THERE = "Training job names must be unique within an AWS account and region, and a training job with this name already exists (arn:…)"


@pytest.mark.parametrize("refusal", ["SageMaker.ResourceInUseException", "SageMaker.SageMakerException"])
def test_a_managed_job_whose_start_was_answered_to_nobody_is_found_by_the_next_try(refusal: str) -> None:
    done = run(MANAGED, createTrainingJob=[LOST, *[TaskError(refusal, THERE)] * 4])
    asked = {each["TrainingJobName"] for each in asked_for(done, "createTrainingJob")}
    assert asked == {done.output["training_job"]}, "no second job that nobody waits for"
    assert {each["TrainingJobName"] for each in asked_for(done, "describeTrainingJob")} == asked
    assert done.visited.count("IsTrainingStarted") == 1
    assert (done.error, done.output["deployed"]) == ("", True)


def test_a_managed_job_has_the_same_name_in_every_try() -> None:
    failed = run(MANAGED, createTrainingJob=[LOST] * 4)
    asked = asked_for(failed, "createTrainingJob")
    assert len(asked) == 4
    assert len({each["TrainingJobName"] for each in asked}) == 1
    assert "CleanUp" in failed.visited
    assert {each["CheckpointConfig"]["S3Uri"].rpartition("/")[2] for each in asked} == {each["TrainingJobName"] for each in asked}


REFUSED = TaskError("SageMaker.SageMakerException", "User is not authorized to perform: sagemaker:DescribeTrainingJob")
MANY = 11
"""Tries of a look before it is given up."""


@pytest.mark.parametrize("stutter", [REFUSED, TaskError("States.Timeout"), TaskError("SageMaker.ThrottlingException", "Rate exceeded")])
def test_many_looks_may_fail_before_a_managed_job_is_given_up(stutter: TaskError) -> None:
    assert run(MANAGED, describeTrainingJob=[stutter] * (MANY - 1)).error == ""


def test_looks_are_tried_again_for_minutes() -> None:
    (retry,) = MACHINE["States"]["DescribeTraining"]["Retry"]
    waits = [min(retry["IntervalSeconds"] * retry["BackoffRate"] ** each, retry["MaxDelaySeconds"]) for each in range(retry["MaxAttempts"])]
    assert sum(waits) / 2 > 9 * 60, "on average, with full jitter"


def test_a_managed_job_that_cannot_be_looked_at_is_stopped_and_told() -> None:
    failed = run(MANAGED, describeTrainingJob=[{"TrainingJobStatus": "InProgress"}, *[REFUSED] * MANY])
    assert failed.error == "SageMaker.SageMakerException"
    assert failed.cause.startswith("DescribeTraining failed (training job whippet-")
    assert failed.cause.endswith("not authorized to perform: sagemaker:DescribeTrainingJob.")
    assert "CleanUp" in failed.visited, "it may be running"


def test_a_managed_job_that_was_seen_completed_goes_on_without_its_late_verdicts() -> None:
    late = looks(Overfit="InProgress", ExplodingTensor="NoIssuesFound", UnchangedTensor="NoIssuesFound")
    done = run(MANAGED, describeTrainingJob=[late, *[REFUSED] * MANY])
    assert done.visited[done.visited.index("RulesNotSeen") :][:3] == ["RulesNotSeen", "IsRedriven", "AssessModel"]
    assert done.output["rule_statuses"] == late["DebugRuleEvaluationStatuses"]
    assert done.output["warnings"] == [
        "the rules could not be followed to the end (User is not authorized to perform: sagemaker:DescribeTrainingJob): "
        "results are from the last check",
        "rule Overfit was still InProgress when the execution went on without its verdict",
    ]
    assert "CleanUp" not in done.visited


def test_verdicts_that_cannot_be_read_are_told() -> None:
    told = json.dumps({"errorType": "ClientError", "errorMessage": "AccessDenied"})
    failed = run(assessModel=[TaskError("ClientError", told)])
    assert failed.cause == "AssessModel failed: AccessDenied. Log: CloudWatch log group /aws/lambda/whippet-assess-model."
    assert "createModel" not in dict(failed.requests)


def test_a_lambda_that_stutters_is_called_again() -> None:
    assert run(assessModel=[TaskError("Lambda.TooManyRequestsException")]).error == ""
