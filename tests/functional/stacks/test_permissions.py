"""What each role may do: what its bearer does, held against every request of the state machine, and nothing that the bearer does not."""

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest

from lambdas.planning import rule_images
from stacks.state_machine.definition import definition
from tests.fixtures.stacks.policies import concrete, is_allowed, listed, statements, statements_of
from tests.fixtures.stacks.synthesis import Synthesis
from tests.fixtures.stacks.ways import ways


def test_no_role_has_a_managed_policy(synthesis: Synthesis) -> None:
    assert [name for name, role in synthesis.resources("AWS::IAM::Role").items() if "ManagedPolicyArns" in role["Properties"]] == []


def test_no_statement_allows_a_whole_service(synthesis: Synthesis) -> None:
    assert [action for each in statements(synthesis) for action in listed(each["Action"]) if "*" in action] == []


LISTED = ("EndpointConfigs", "HyperParameterTuningJobs", "Models", "ProcessingJobs", "TrainingJobs")


def test_a_bare_star_stands_only_where_aws_knows_no_resource(synthesis: Synthesis) -> None:
    actions = {action for each in statements(synthesis) if "*" in listed(each["Resource"]) for action in listed(each["Action"])}
    assert {action for action in actions if not action.startswith(("xray:", "logs:"))} == {
        "cloudwatch:GetMetricData",
        "cloudwatch:PutMetricData",
        "ecr:GetAuthorizationToken",
        *(f"sagemaker:List{each}" for each in LISTED),
    }


def test_roles_are_passed_to_sagemaker_only(synthesis: Synthesis) -> None:
    (passing,) = [each for each in statements(synthesis) if "iam:PassRole" in listed(each["Action"])]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert [list(each) for each in passing["Resource"]] == [["Fn::GetAtt"]] * 4


HERE = "us-east-1:000000000000"
SAGEMAKER = f"arn:aws:sagemaker:{HERE}"
JOB_VERBS = ("Create", "Describe", "Stop")
NAMED = {
    "ProcessingJobName": "processing-job",
    "HyperParameterTuningJobName": "hyper-parameter-tuning-job",
    "TrainingJobName": "training-job",
    "ModelName": "model",
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
}
"""Member of a request -> kind of what it names; the first that a request has is what the request is about."""


def needed(action: str, asked: dict[str, Any]) -> list[tuple[str, str]]:
    """The permissions that one request takes, as the service authorisation reference lists them, each on the resource that it names."""
    name = action.removesuffix(".sync")
    call = f"sagemaker:{name[0].upper()}{name[1:]}"
    if action == "invoke":
        return [("lambda:InvokeFunction", asked["FunctionName"].rpartition(":")[2])]
    if action in OTHERS:
        return [OTHERS[action]]
    if "ModelPackage" in action:
        group = asked.get("ModelPackageGroupName")
        version = asked.get("ModelPackageArn") or asked.get("ModelPackageName") or f"{SAGEMAKER}:model-package/{group}/7"
        return [(call, version), *([(call, f"{SAGEMAKER}:model-package-group/{group}")] if group else [])]
    member = next(each for each in NAMED if each in asked)
    on = f"{SAGEMAKER}:{NAMED[member]}/{asked[member]}"
    calls = [call]
    if action.endswith(".sync"):
        calls += [f"sagemaker:{verb}{member.removesuffix('Name')}" for verb in JOB_VERBS]
    if "Tags" in asked:
        calls += ["sagemaker:AddTags", *(["sagemaker:ListTags"] if action.endswith(".sync") else [])]
    config = (
        [(call, f"{SAGEMAKER}:endpoint-config/{asked['EndpointConfigName']}")] if action in ("createEndpoint", "updateEndpoint") else []
    )
    scaled = [OTHERS["deregisterScalableTarget"]] if action == "deleteEndpoint" else []
    return [*((each, on) for each in calls), *config, *scaled]


OTHERS = {
    "publish": ("sns:Publish", "NotificationsTopicAE679CBD"),
    "sendTaskFailure": ("states:SendTaskFailure", f"arn:aws:states:{HERE}:stateMachine:whippet"),
    "deregisterScalableTarget": (
        "application-autoscaling:DeregisterScalableTarget",
        f"arn:aws:application-autoscaling:{HERE}:scalable-target/0a1b",
    ),
}


def wanted() -> set[tuple[str, str]]:
    """By every request of every way through the machine but those to functions, which other tests look at."""
    requests = [each for way in ways() for each in way.requests if each[0] != "invoke"]
    tasks = {state["Resource"].removesuffix(".waitForTaskToken").rpartition(":")[2] for state in tasks_of_the_machine()}
    assert {action for action, _ in requests} == tasks - {"invoke"}
    return {pair for action, asked in requests for pair in needed(action, asked)}


def tasks_of_the_machine() -> list[dict[str, Any]]:
    return [state for state in definition()["States"].values() if "Resource" in state]


def test_the_state_machine_may_do_what_its_tasks_do(synthesis: Synthesis) -> None:
    """Each on the resource that it names, by a statement of the machine's own role."""
    policy = statements_of(synthesis, "WorkflowStateMachineRole")
    assert {pair for pair in wanted() if not is_allowed(policy, *pair)} == set()


def test_the_state_machine_may_do_nothing_else_to_sagemaker(synthesis: Synthesis) -> None:
    policy = statements_of(synthesis, "WorkflowStateMachineRole")
    allowed = {action for each in policy for action in listed(each["Action"]) if action.startswith("sagemaker:")}
    assert allowed == {action for action, _ in wanted() if action.startswith("sagemaker:")}


def test_the_state_machine_may_not_touch_what_is_not_the_projects(synthesis: Synthesis) -> None:
    """So the checks above do not pass because everything is allowed."""
    policy = statements_of(synthesis, "WorkflowStateMachineRole")
    for action, resource in (
        ("sagemaker:CreateEndpoint", "endpoint/another"),
        ("sagemaker:DeleteEndpoint", "endpoint/whippet-2"),
        ("sagemaker:CreateTrainingJob", "training-job/another-1"),
        ("sagemaker:StopProcessingJob", "processing-job/another-1"),
        ("sagemaker:CreateModelPackage", "model-package-group/another"),
        ("sagemaker:UpdateModelPackage", "model-package/whippet-2/1"),
        ("sagemaker:InvokeEndpoint", "endpoint/whippet"),
    ):
        assert not is_allowed(policy, action, f"{SAGEMAKER}:{resource}")


def test_who_registers_a_model_may_look_at_its_image_and_artefact_and_at_nothing_else(synthesis: Synthesis) -> None:
    """A request to register names no role: SageMaker has nobody's name but the caller's to look at them in."""
    policy = statements_of(synthesis, "WorkflowStateMachineRole")
    (bucket,) = synthesis.resources("AWS::S3::Bucket")
    assert is_allowed(policy, "s3:GetObject", f"{bucket}/executions/whippet-1/training/whippet-1-train-0a1b/output/model.tar.gz")
    for other in ("data/train/beagle/1.jpg", "executions/whippet-1/training/whippet-1-train-0a1b/report/evaluation.json"):
        assert not is_allowed(policy, "s3:GetObject", f"{bucket}/{other}")
    (pulled,) = [each["Resource"] for each in statements_of(synthesis, "WorkflowJobRolesHosting") if "ecr:BatchGetImage" in each["Action"]]
    assert all(is_allowed(policy, action, concrete(pulled)) for action in ("ecr:BatchGetImage", "ecr:DescribeImages"))


@pytest.mark.parametrize("bearer", ["Preparation", "Training", "ManagedTraining"])
def test_a_job_whose_output_has_a_key_may_encrypt_with_it(variation: Callable[[str], Synthesis], bearer: str) -> None:
    """The API's own words about OutputDataConfig.KmsKeyId; S3 itself asks for data keys only."""
    (key,) = variation("kms").resources("AWS::KMS::Key")
    assert is_allowed(statements_of(variation("kms"), f"WorkflowJobRoles{bearer}"), "kms:Encrypt", key)


def test_the_state_machine_may_wait_for_jobs_call_its_functions_and_pass_four_roles(synthesis: Synthesis) -> None:
    policy = statements_of(synthesis, "WorkflowStateMachineRole")
    for kind in ("Processing", "Tuning", "Training"):
        rule = f"arn:aws:events:{HERE}:rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule"
        for action in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
            assert is_allowed(policy, action, rule)
    substituted = synthesis.resource("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"]
    arns = {name: concrete(value) for name, value in substituted.items() if name.endswith("Arn") and name != "TopicArn"}
    called = {name: arn for name, arn in arns.items() if not name.endswith("RoleArn")}
    assert len(called) == 6
    assert all(is_allowed(policy, "lambda:InvokeFunction", arn) for arn in called.values())
    assert all(is_allowed(policy, "iam:PassRole", arn) for name, arn in arns.items() if name not in called)


@pytest.mark.parametrize("bearer", ["WorkflowStateMachineRole", "WorkflowJobRolesHosting"])
def test_an_update_of_the_endpoint_is_watched_in_the_name_of_who_asks_and_who_serves(synthesis: Synthesis, bearer: str) -> None:
    policy = statements_of(synthesis, bearer)
    alarms = [each["Properties"]["AlarmName"] for each in synthesis.resources("AWS::CloudWatch::Alarm").values()]
    watched = {name for name in alarms if is_allowed(policy, "cloudwatch:DescribeAlarms", f"arn:aws:cloudwatch:{HERE}:alarm:{name}")}
    assert watched == {"whippet-endpoint-errors", "whippet-endpoint-latency"}


@pytest.mark.parametrize("role", ["Preparation", "Training", "ManagedTraining"])
def test_a_job_may_read_the_archive_of_an_older_deployment(synthesis: Synthesis, role: str) -> None:
    """An execution that was started before the deployment asks for it, and for nothing else of that bucket."""
    policy = statements_of(synthesis, f"WorkflowJobRoles{role}")
    archive = concrete(synthesis.template["Outputs"]["SourceArchiveUri"]["Value"]).replace("s3://", "arn:aws:s3:::")
    bucket, _, key = archive.partition("/")
    for name in (key, f"{'0' * 64}.gz"):
        assert is_allowed(policy, "s3:GetObject", f"{bucket}/{name}")
    assert not is_allowed(policy, "s3:GetObject", f"{bucket}/{'0' * 64}.zip")
    (listing,) = [each for each in policy if "s3:ListBucket" in listed(each["Action"]) and concrete(each["Resource"]) == bucket]
    assert fnmatchcase(key, listing["Condition"]["StringLike"]["s3:prefix"])


WRITTEN_FILES = (
    "data/rook/1.jpg",
    "weights/resnet50.pth",
    "prepared-data-sets/0a1b/run/dataset.json",
    "executions/run/prepare/summary.json",
    "executions/run/training/job/model.tar.gz",
)


@pytest.mark.parametrize(
    ("role", "written", "kinds", "log_groups"),
    [
        ("Preparation", WRITTEN_FILES[2:4], ["ProcessingJobs"], ["ProcessingJobs"]),
        ("Training", WRITTEN_FILES[3:], ["TrainingJobs"], ["TrainingJobs"]),
        ("ManagedTraining", WRITTEN_FILES[3:], ["TrainingJobs", "ProcessingJobs"], ["ProcessingJobs", "TrainingJobs"]),
        ("Hosting", (), ["Endpoints"], ["Endpoints/whippet"]),
    ],
)
def test_each_container_may_write_its_own_files_log_and_metrics_only(
    synthesis: Synthesis, role: str, written: tuple[str, ...], kinds: list[str], log_groups: list[str]
) -> None:
    policy = statements_of(synthesis, f"WorkflowJobRoles{role}")
    (bucket,) = synthesis.resources("AWS::S3::Bucket")
    assert [file for file in WRITTEN_FILES if is_allowed(policy, "s3:PutObject", f"{bucket}/{file}")] == list(written)
    groups = ("ProcessingJobs", "TrainingJobs", "Endpoints/whippet")
    streams = {group: f"arn:aws:logs:us-east-1:000000000000:log-group:/aws/sagemaker/{group}:log-stream:x/algo-1" for group in groups}
    assert [group for group, stream in streams.items() if is_allowed(policy, "logs:PutLogEvents", stream)] == log_groups
    counting = [each["Condition"]["StringEquals"] for each in policy if each["Action"] == "cloudwatch:PutMetricData"]
    assert [each["cloudwatch:namespace"] for each in counting] == [[f"/aws/sagemaker/{kind}", "AWS/SageMaker"] for kind in kinds]


def test_the_first_state_may_read_what_a_data_set_says_of_itself_and_nothing_else_of_it(synthesis: Synthesis) -> None:
    policy = statements_of(synthesis, "WorkflowStatesPrepareExecutionRole")
    (bucket,) = synthesis.resources("AWS::S3::Bucket")
    assert is_allowed(policy, "s3:GetObject", f"{bucket}/prepared-data-sets/0a1b/run/dataset.json")
    assert not is_allowed(policy, "s3:GetObject", f"{bucket}/prepared-data-sets/0a1b/run/manifest.jsonl")
    assert not is_allowed(policy, "s3:PutObject", f"{bucket}/prepared-data-sets/0a1b/run/dataset.json")


def test_the_function_that_assesses_a_model_may_read_reports_and_nothing_else(synthesis: Synthesis) -> None:
    policy = statements_of(synthesis, "WorkflowStatesAssessModelRole")
    (bucket,) = synthesis.resources("AWS::S3::Bucket")
    job = f"{bucket}/executions/run/training/job"
    for name in ("rule_statuses", "profiler_rule_statuses", "evaluation", "model"):
        assert is_allowed(policy, "s3:GetObject", f"{job}/report/{name}.json")
    assert not is_allowed(policy, "s3:GetObject", f"{job}/output/model.tar.gz")
    assert is_allowed(policy, "s3:ListBucket", bucket), "without the list, S3 answers AccessDenied for a report that is missing"


CHANGES = {
    "WorkflowStatesPrepareExecution": {"s3:PutObject", "s3:AbortMultipartUpload"},
    "WorkflowStatesAssessModel": set(),
    "WorkflowStatesVerifyEndpoint": {"sagemaker:InvokeEndpoint"},
    "WorkflowStatesPruneModels": {"sagemaker:DeleteModel", "sagemaker:DeleteEndpointConfig"},
    "WorkflowStatesPublishReport": {"s3:PutObject"},
    "WorkflowStatesCleanUp": {
        "sagemaker:StopProcessingJob",
        "sagemaker:StopTrainingJob",
        "sagemaker:StopHyperParameterTuningJob",
        "sagemaker:DeleteModel",
        "sagemaker:DeleteEndpointConfig",
    },
    "OperationsReapExecution": {
        "sagemaker:StopProcessingJob",
        "sagemaker:StopTrainingJob",
        "sagemaker:StopHyperParameterTuningJob",
        "sagemaker:DeleteModel",
        "sagemaker:DeleteEndpointConfig",
        "sagemaker:DeleteEndpoint",
        "sagemaker:UpdateEndpoint",
        "application-autoscaling:DeregisterScalableTarget",
        "sqs:SendMessage",
    },
    "OperationsScaleEndpoint": {
        "application-autoscaling:RegisterScalableTarget",
        "application-autoscaling:DeregisterScalableTarget",
        "application-autoscaling:PutScalingPolicy",
        "cloudwatch:PutMetricAlarm",
        "cloudwatch:DeleteAlarms",
        "iam:CreateServiceLinkedRole",
        "sagemaker:UpdateEndpointWeightsAndCapacities",
        "sqs:SendMessage",
    },
    "OperationsStopIdleEndpoint": {
        "sagemaker:DeleteEndpoint",
        "application-autoscaling:DeregisterScalableTarget",
        "sqs:SendMessage",
    },
    "OperationsStartRetraining": {"states:StartExecution", "sqs:SendMessage"},
    "InferenceApiInvokeEndpoint": {"sagemaker:InvokeEndpoint", "sagemaker:CreateEndpoint", "sagemaker:AddTags"},
    "InferenceApiShowPage": set(),
}
"""Function -> all that it may do besides looking, and writing its own log and traces."""


def test_each_function_may_change_what_its_work_is_and_nothing_else(variation: Callable[[str], Synthesis]) -> None:
    synthesis = variation("everything")
    roles = [
        name
        for name in synthesis.resources("AWS::IAM::Role")
        if re.fullmatch(r"(Workflow|Operations|InferenceApi)\w+Role[0-9A-F]{8}", name)
    ]
    functions = {name[:-12]: name for name in roles if name[:-12] not in ("WorkflowStateMachine", "InferenceApiLog")}
    assert set(functions) == set(CHANGES)
    for function, role in functions.items():
        actions = {action for each in statements_of(synthesis, role) for action in listed(each["Action"])}
        looks = {each for each in actions if re.match(r"(logs|xray|kms):|\w[\w-]*:(Describe|Get|List)", each)}
        assert actions - looks == CHANGES[function], function


def test_who_may_delete_the_endpoint_may_end_its_scaling(synthesis: Synthesis) -> None:
    """Or SageMaker refuses to delete one that scales."""
    policies = [each["Properties"]["PolicyDocument"]["Statement"] for each in synthesis.resources("AWS::IAM::Policy").values()]
    deleting = [each for each in policies if is_allowed(each, "sagemaker:DeleteEndpoint", f"{SAGEMAKER}:endpoint/whippet")]
    assert len(deleting) == 3
    assert all(is_allowed(each, *OTHERS["deregisterScalableTarget"]) for each in deleting)


ENDPOINTS_ONLY = {
    "application-autoscaling:service-namespace": "sagemaker",
    "application-autoscaling:scalable-dimension": "sagemaker:variant:DesiredInstanceCount",
}


def test_scaling_reaches_endpoints_only(synthesis: Synthesis) -> None:
    changing = [
        each for each in statements(synthesis) if any(action.startswith("application-autoscaling:R") for action in listed(each["Action"]))
    ]
    assert changing
    assert all(each["Condition"] == {"StringEquals": ENDPOINTS_ONLY} for each in changing)


def test_nothing_wakes_an_endpoint_that_nothing_stops(variation: Callable[[str], Synthesis]) -> None:
    policy = statements_of(variation("told"), "InferenceApiInvokeEndpointRole")
    assert {action for each in policy for action in listed(each["Action"]) if action.startswith("sagemaker:")} == {
        "sagemaker:InvokeEndpoint"
    }


@pytest.mark.parametrize("bearer", ["Preparation", "Training", "ManagedTraining", "Hosting"])
def test_jobs_and_endpoints_may_use_the_key_and_the_subnets_where_there_are_any(variation: Callable[[str], Synthesis], bearer: str) -> None:
    policy = statements_of(variation("everything"), f"WorkflowJobRoles{bearer}")
    (key,) = variation("everything").resources("AWS::KMS::Key")
    for action in ("kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant", "kms:DescribeKey"):
        assert is_allowed(policy, action, key)
    made = f"arn:aws:ec2:{HERE}"
    for number in (0, 1):
        assert is_allowed(policy, "ec2:CreateNetworkInterface", f"{made}:subnet/subnet-0123456789abcdef{number}")
    assert not is_allowed(policy, "ec2:CreateNetworkInterface", f"{made}:subnet/subnet-0123456789abcdef2")
    without = statements_of(variation("default"), f"WorkflowJobRoles{bearer}")
    assert not [action for each in without for action in listed(each["Action"]) if action.startswith(("kms:", "ec2:"))]


def test_who_touches_objects_may_use_their_key(variation: Callable[[str], Synthesis]) -> None:
    synthesis = variation("kms")
    (key,), (bucket,) = synthesis.resources("AWS::KMS::Key"), synthesis.resources("AWS::S3::Bucket")
    policies = [each["Properties"]["PolicyDocument"]["Statement"] for each in synthesis.resources("AWS::IAM::Policy").values()]
    objects = [
        each for each in policies if any(action in ("s3:GetObject", "s3:PutObject") for part in each for action in listed(part["Action"]))
    ]
    assert len(objects) >= 8
    assert all(is_allowed(each, action, key) for each in objects for action in ("kms:Decrypt", "kms:GenerateDataKey")), bucket


def test_only_jobs_that_aws_judges_may_be_stopped_by_their_own_role(synthesis: Synthesis) -> None:
    """The service runs rules in the job's role; a job that judges itself needs none of it."""
    managed, own = (statements_of(synthesis, f"WorkflowJobRoles{name}") for name in ("ManagedTraining", "Training"))
    rules = f"arn:aws:ecr:us-east-1:{rule_images.ACCOUNTS['us-east-1']}:repository/{rule_images.REPOSITORY}"
    for action, resource in (
        ("sagemaker:StopTrainingJob", f"{SAGEMAKER}:training-job/whippet-1-train-2"),
        ("sagemaker:ListTrainingJobs", "*"),
        ("ecr:BatchGetImage", rules),
    ):
        assert is_allowed(managed, action, resource)
        assert not is_allowed(own, action, resource)
    assert not is_allowed(managed, "sagemaker:StopTrainingJob", f"{SAGEMAKER}:training-job/another-1")


def test_the_log_role_of_the_account_stays_with_all_it_may_do(synthesis: Synthesis) -> None:
    """Other APIs of the account log by it, after the stack is gone too."""
    account = synthesis.resources("AWS::ApiGateway::Account")
    role_name = concrete(next(iter(account.values()))["Properties"]["CloudWatchRoleArn"])
    role = synthesis.resources("AWS::IAM::Role")[role_name]
    assert [each["DeletionPolicy"] for each in (role, *account.values())] == ["Retain", "Retain"]
    (policy,) = role["Properties"]["Policies"]
    assert "logs:PutLogEvents" in policy["PolicyDocument"]["Statement"][0]["Action"]
    policies = synthesis.resources("AWS::IAM::Policy").values()
    assert [each for each in policies if {"Ref": role_name} in each["Properties"]["Roles"]] == []
