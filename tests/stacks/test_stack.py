"""The synthesised template: what is secured, what is named, what the outputs say, and what four linters think of it."""

import importlib
import json
import re
import subprocess
import sys
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from lambdas import rule_images
from lambdas.invoke_endpoint import PHOTO_TYPES
from lambdas.prepared import MOST_AGE, PREFIX
from lambdas.settings import Settings
from stacks.state_machine import READING_SECONDS, definition
from tests.stacks.conftest import REPOSITORY, Synthesis, synthesise
from tests.stacks.execution import SUBSTITUTED, filled_in
from tests.stacks.ways import ways

BIN = Path(sys.executable).parent


def statements(synthesis: Synthesis) -> list[dict[str, Any]]:
    """Of all policies, whether they stand beside their role or in it."""
    policies = [each["Properties"] for each in synthesis.resources("AWS::IAM::Policy").values()]
    roles = synthesis.resources("AWS::IAM::Role").values()
    policies += [policy for role in roles for policy in role["Properties"].get("Policies", [])]
    return [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]


def statements_of(synthesis: Synthesis, role: str) -> list[dict[str, Any]]:
    """Of the one role whose logical id begins so."""
    (name,) = [name for name in synthesis.resources("AWS::IAM::Role") if name.startswith(role)]
    policies = [each["Properties"] for each in synthesis.resources("AWS::IAM::Policy").values()]
    return [each for policy in policies if {"Ref": name} in policy["Roles"] for each in policy["PolicyDocument"]["Statement"]]


def concrete(value: Any) -> str:
    """A value of the template, in an account of zeros in us-east-1; what CloudFormation would name or look up is the logical id."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Fn::Join":
        return str(argument[0]).join(concrete(part) for part in argument[1])
    if function in ("Fn::GetAtt", "Fn::FindInMap"):
        return str(argument[0])
    if function == "Fn::Sub":
        return re.sub(r"\$\{([^}]+)\}", lambda name: concrete({"Ref": name[1]}), argument)
    return {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "000000000000"}.get(argument, str(argument))


def is_allowed(policy: list[dict[str, Any]], action: str, resource: str) -> bool:
    """Whether one statement has both, in itself."""
    return any(
        action in listed(each["Action"]) and any(fnmatchcase(resource, concrete(pattern)) for pattern in listed(each["Resource"]))
        for each in policy
    )


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_cdk_nag_finds_nothing_that_has_no_reason(synthesis: Synthesis) -> None:
    assert synthesis.findings == []


def test_a_finding_without_a_reason_would_be_seen(tmp_path: Path) -> None:
    """So the check above does not pass because nothing is checked."""
    import aws_cdk as cdk
    from aws_cdk import aws_s3 as s3
    from cdk_nag import AwsSolutionsChecks

    app = cdk.App(outdir=str(tmp_path))
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    s3.Bucket(cdk.Stack(app, "bare"), "Bucket")
    with pytest.raises(RuntimeError, match="AwsSolutions-S1"):
        app.synth()


def test_the_outputs_are_those_that_tools_read(synthesis: Synthesis) -> None:
    outputs = synthesis.template["Outputs"]
    assert set(outputs) == {"BucketName", "StateMachineArn", "ApiUrl", "PageUrl", "EndpointName", "SourceArchiveUri"}
    assert outputs["EndpointName"]["Value"] == "whippet"
    assert outputs["ApiUrl"]["Value"]["Fn::Join"][1][-1] == "/predict"
    assert outputs["SourceArchiveUri"]["Value"]["Fn::Join"][1][0] == "s3://"


def test_the_stack_needs_no_custom_resource_and_no_image(synthesis: Synthesis) -> None:
    assert [each["Type"] for each in synthesis.template["Resources"].values() if "Custom" in each["Type"]] == []
    assert json.loads((synthesis.folder / "whippet.assets.json").read_text())["dockerImages"] == {}


def test_the_bucket_is_closed_encrypted_versioned_and_kept(synthesis: Synthesis) -> None:
    (bucket,) = synthesis.resources("AWS::S3::Bucket").values()
    assert bucket["DeletionPolicy"] == "Retain"
    assert bucket["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    assert "AES256" in json.dumps(bucket["Properties"]["BucketEncryption"])
    rules = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
    assert {"NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"} <= {key for rule in rules for key in rule}


def test_the_bucket_takes_requests_over_tls_only(synthesis: Synthesis) -> None:
    policy = synthesis.resource("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
    denied = [each for each in policy if each["Effect"] == "Deny" and each["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}]
    assert [each["Action"] for each in denied] == ["s3:*"]


def test_the_bucket_that_is_kept_keeps_its_policy(synthesis: Synthesis) -> None:
    (policy,) = synthesis.resources("AWS::S3::BucketPolicy").values()
    assert (policy["DeletionPolicy"], policy["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_no_role_has_a_managed_policy(synthesis: Synthesis) -> None:
    assert [name for name, role in synthesis.resources("AWS::IAM::Role").items() if "ManagedPolicyArns" in role["Properties"]] == []


def test_no_statement_allows_a_whole_service(synthesis: Synthesis) -> None:
    assert [action for each in statements(synthesis) for action in listed(each["Action"]) if "*" in action] == []


def test_a_bare_star_stands_only_where_aws_knows_no_resource(synthesis: Synthesis) -> None:
    actions = {action for each in statements(synthesis) if "*" in listed(each["Resource"]) for action in listed(each["Action"])}
    assert {action for action in actions if not action.startswith(("xray:", "logs:"))} == {
        "ecr:GetAuthorizationToken",
        "cloudwatch:PutMetricData",
        "sagemaker:ListTrainingJobs",
    }


def test_roles_are_passed_to_sagemaker_only(synthesis: Synthesis) -> None:
    (passing,) = [each for each in statements(synthesis) if "iam:PassRole" in listed(each["Action"])]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert [list(each) for each in passing["Resource"]] == [["Fn::GetAtt"]] * 4


SAGEMAKER = "arn:aws:sagemaker:us-east-1:000000000000"
JOB_VERBS = ("Create", "Describe", "Stop")


ELSEWHERE = {
    "publish": ("sns:Publish", "NotificationsTopicAE679CBD"),
    "sendTaskFailure": ("states:SendTaskFailure", "arn:aws:states:us-east-1:000000000000:stateMachine:whippet"),
    "deregisterScalableTarget": (
        "application-autoscaling:DeregisterScalableTarget",
        "arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/0a1b",
    ),
}
"""What is asked of other services than SageMaker."""


def needed(action: str, asked: dict[str, Any]) -> list[tuple[str, str]]:
    """The permissions that one request takes, as the service authorisation reference lists them, each on the resource that it names."""
    if action in ELSEWHERE:
        return [ELSEWHERE[action]]
    call = f"sagemaker:{action[0].upper()}{action[1:].removesuffix('.sync')}"
    if "ModelPackage" in call:
        group = [(call, f"{SAGEMAKER}:model-package-group/whippet")] if "ModelPackageGroupName" in asked else []
        return [(call, f"{SAGEMAKER}:model-package/whippet/1"), *group]
    endpoint = f"{SAGEMAKER}:endpoint/{asked.get('EndpointName')}"
    config = f"{SAGEMAKER}:endpoint-config/{asked.get('EndpointConfigName')}"
    if "ProcessingJobName" in asked:
        on = f"{SAGEMAKER}:processing-job/{asked['ProcessingJobName']}"
        calls = [call, *(f"sagemaker:{verb}ProcessingJob" for verb in JOB_VERBS)]
    elif "HyperParameterTuningJobName" in asked:
        on = f"{SAGEMAKER}:hyper-parameter-tuning-job/{asked['HyperParameterTuningJobName']}"
        calls = [call, *(f"sagemaker:{verb}HyperParameterTuningJob" for verb in JOB_VERBS)]
    elif "TrainingJobName" in asked:
        on = f"{SAGEMAKER}:training-job/{asked['TrainingJobName']}"
        calls = [call, *(f"sagemaker:{verb}TrainingJob" for verb in JOB_VERBS)]
    elif "ModelName" in asked:
        on, calls = f"{SAGEMAKER}:model/{asked['ModelName']}", [call]
    elif "EndpointName" in asked:
        also = [(call, config)] if "EndpointConfigName" in asked else []
        return [(call, endpoint), *also, *([("sagemaker:AddTags", endpoint)] if "Tags" in asked else [])]
    else:
        on, calls = config, [call]
    tags = ["sagemaker:AddTags", *(["sagemaker:ListTags"] if action.endswith(".sync") else [])] if "Tags" in asked else []
    return [(each, on) for each in [*calls, *tags]]


def test_the_state_machine_may_do_what_its_tasks_do(synthesis: Synthesis) -> None:
    """Every request of every way through the machine, on the resource that it names, by a statement of the machine's own role."""
    policy = statements_of(synthesis, "WorkflowStateMachineRole")
    requests = [each for way in ways() for each in way.requests if each[0] != "invoke"]
    resources = [state["Resource"] for state in definition()["States"].values() if "Resource" in state]
    tasks = {each.rpartition(":")[2].removesuffix(".waitForTaskToken") for each in resources}
    assert {action for action, _ in requests} == tasks - {"invoke"}
    wanted = {pair for action, asked in requests for pair in needed(action, asked)}
    assert {pair for pair in wanted if not is_allowed(policy, *pair)} == set()


def test_the_state_machine_may_not_touch_what_is_not_the_projects(synthesis: Synthesis) -> None:
    """So the check above does not pass because everything is allowed."""
    policy = statements_of(synthesis, "WorkflowStateMachineRole")
    for action, resource in (
        ("sagemaker:CreateEndpoint", "endpoint/another"),
        ("sagemaker:DeleteEndpoint", "endpoint/whippet-2"),
        ("sagemaker:CreateTrainingJob", "training-job/another-1"),
        ("sagemaker:StopProcessingJob", "processing-job/another-1"),
        ("sagemaker:InvokeEndpoint", "endpoint/whippet"),
    ):
        assert not is_allowed(policy, action, f"{SAGEMAKER}:{resource}")


def test_the_state_machine_may_wait_for_jobs_call_its_functions_and_pass_four_roles(synthesis: Synthesis) -> None:
    policy = statements_of(synthesis, "WorkflowStateMachineRole")
    for kind in ("Processing", "Tuning", "Training"):
        rule = f"arn:aws:events:us-east-1:000000000000:rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule"
        for action in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
            assert is_allowed(policy, action, rule)
    substituted = synthesis.resource("AWS::StepFunctions::StateMachine")["DefinitionSubstitutions"]
    for function in ("PrepareExecutionArn", "AssessModelArn"):
        assert is_allowed(policy, "lambda:InvokeFunction", concrete(substituted[function]))
    for role in ("PreparationRoleArn", "TrainingRoleArn", "ManagedTrainingRoleArn", "HostingRoleArn"):
        assert is_allowed(policy, "iam:PassRole", concrete(substituted[role]))


@pytest.mark.parametrize("role", ["WorkflowPreparationRole", "WorkflowTrainingRole", "WorkflowManagedTrainingRole"])
def test_a_job_may_read_the_archive_of_an_older_deployment(synthesis: Synthesis, role: str) -> None:
    """An execution that was started before the deployment asks for it, and for nothing else of that bucket."""
    policy = statements_of(synthesis, role)
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
    policy = statements_of(synthesis, f"Workflow{role}Role")
    (bucket,) = synthesis.resources("AWS::S3::Bucket")
    assert [file for file in WRITTEN_FILES if is_allowed(policy, "s3:PutObject", f"{bucket}/{file}")] == list(written)
    groups = ("ProcessingJobs", "TrainingJobs", "Endpoints/whippet")
    streams = {group: f"arn:aws:logs:us-east-1:000000000000:log-group:/aws/sagemaker/{group}:log-stream:x/algo-1" for group in groups}
    assert [group for group, stream in streams.items() if is_allowed(policy, "logs:PutLogEvents", stream)] == log_groups
    counting = [each["Condition"]["StringEquals"] for each in policy if each["Action"] == "cloudwatch:PutMetricData"]
    assert [each["cloudwatch:namespace"] for each in counting] == [[f"/aws/sagemaker/{kind}", "AWS/SageMaker"] for kind in kinds]


def test_the_first_state_may_read_what_a_data_set_says_of_itself_and_nothing_else_of_it(synthesis: Synthesis) -> None:
    policy = statements_of(synthesis, "WorkflowPrepareExecutionRole")
    (bucket,) = synthesis.resources("AWS::S3::Bucket")
    assert is_allowed(policy, "s3:GetObject", f"{bucket}/prepared-data-sets/0a1b/run/dataset.json")
    assert not is_allowed(policy, "s3:GetObject", f"{bucket}/prepared-data-sets/0a1b/run/manifest.jsonl")
    assert not is_allowed(policy, "s3:PutObject", f"{bucket}/prepared-data-sets/0a1b/run/dataset.json")


def test_the_function_that_assesses_a_model_may_read_verdicts_and_nothing_else(synthesis: Synthesis) -> None:
    policy = statements_of(synthesis, "WorkflowAssessModelRole")
    (bucket,) = synthesis.resources("AWS::S3::Bucket")
    job = f"{bucket}/executions/run/training/job"
    assert is_allowed(policy, "s3:GetObject", f"{job}/report/rule_statuses.json")
    assert is_allowed(policy, "s3:GetObject", f"{job}/report/profiler_rule_statuses.json")
    assert not is_allowed(policy, "s3:GetObject", f"{job}/report/evaluation.json")
    assert not is_allowed(policy, "s3:GetObject", f"{job}/output/model.tar.gz")
    actions = {action for each in policy for action in listed(each["Action"]) if not action.startswith(("logs:", "xray:"))}
    assert actions == {"s3:ListBucket", "s3:GetObject"}, "without the list, S3 answers AccessDenied for a report that is missing"


def test_only_jobs_that_aws_judges_may_be_stopped_by_their_own_role(synthesis: Synthesis) -> None:
    """The service runs rules in the job's role; a job that judges itself needs none of it."""
    managed, own = (statements_of(synthesis, f"Workflow{name}Role") for name in ("ManagedTraining", "Training"))
    rules = f"arn:aws:ecr:us-east-1:{rule_images.ACCOUNTS['us-east-1']}:repository/{rule_images.REPOSITORY}"
    for action, resource in (
        ("sagemaker:StopTrainingJob", f"{SAGEMAKER}:training-job/whippet-1-train-2"),
        ("sagemaker:ListTrainingJobs", "*"),
        ("ecr:BatchGetImage", rules),
    ):
        assert is_allowed(managed, action, resource)
        assert not is_allowed(own, action, resource)
    assert not is_allowed(managed, "sagemaker:StopTrainingJob", f"{SAGEMAKER}:training-job/another-1")


def test_prepared_data_sets_go_in_the_end_and_are_not_begun_with_shortly_before(synthesis: Synthesis) -> None:
    """An execution's jobs may take as long as its state machine lets them; failed, it may be redriven within 14 days, and takes as long
    again."""
    rules = synthesis.resource("AWS::S3::Bucket")["LifecycleConfiguration"]["Rules"]
    (kept,) = [rule["ExpirationInDays"] for rule in rules if rule.get("Prefix") == PREFIX]
    assert timedelta(days=kept) - MOST_AGE > timedelta(days=14, seconds=2 * READING_SECONDS)


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


def test_the_definition_is_filled_in_completely(synthesis: Synthesis) -> None:
    machine = synthesis.resource("AWS::StepFunctions::StateMachine")
    used = set(re.findall(r"\$\{(\w+)\}", machine["DefinitionString"]))
    assert used == set(machine["DefinitionSubstitutions"]) == set(SUBSTITUTED)
    assert json.loads(machine["DefinitionString"]) == definition()


def test_the_state_machine_logs_everything_and_is_traced(synthesis: Synthesis) -> None:
    machine = synthesis.resource("AWS::StepFunctions::StateMachine")
    assert machine["LoggingConfiguration"]["Level"] == "ALL"
    assert machine["TracingConfiguration"] == {"Enabled": True}


def test_statelint_has_no_objection(tmp_path: Path) -> None:
    file = tmp_path / "machine.asl.json"
    file.write_text(json.dumps(filled_in(definition())))
    done = subprocess.run([BIN / "statelint", file], capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines()[1:] if not EXPRESSION_FOR_SECONDS.search(line)] == [], done.stdout + done.stderr


EXPRESSION_FOR_SECONDS = re.compile(r'\.Seconds is "\{% .* %\}" but should be an Integer$')
"""The one thing that statelint 3.1 does not know of JSONata: a Wait state's Seconds may be an expression."""


def test_cfn_lint_has_no_objection(synthesis: Synthesis, tmp_path: Path) -> None:
    """Also to the state machine, once with its substitutions filled in, because cfn-lint knows no other ARN than arn:aws."""
    template = json.loads(json.dumps(synthesis.template).replace('"ignore_checks": ["E3601"]', '"ignore_checks": []'))
    for each in template["Resources"].values():
        if each["Type"] == "AWS::StepFunctions::StateMachine":
            each["Properties"]["DefinitionString"] = json.dumps(filled_in(definition()))
            del each["Properties"]["DefinitionSubstitutions"]
    filled = tmp_path / "filled.json"
    filled.write_text(json.dumps(template))
    templates = [synthesis.folder / "whippet.template.json", filled]
    lint: list[str | Path] = [BIN / "cfn-lint", "--config-file", REPOSITORY / ".cfnlintrc", "--", *templates]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_api_is_regional_signed_throttled_logged_and_traced(synthesis: Synthesis) -> None:
    api = synthesis.resource("AWS::ApiGateway::RestApi")
    stage = synthesis.resource("AWS::ApiGateway::Stage")
    assert api["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    assert api["BinaryMediaTypes"] == list(PHOTO_TYPES)
    assert stage["StageName"] == "v1"
    assert stage["TracingEnabled"] is True
    assert "AccessLogSetting" in stage
    assert stage["MethodSettings"][0]["ThrottlingRateLimit"] == 20
    assert stage["MethodSettings"][0]["DataTraceEnabled"] is False


def test_the_api_has_two_signed_methods(synthesis: Synthesis) -> None:
    methods = [each["Properties"] for each in synthesis.resources("AWS::ApiGateway::Method").values()]
    assert sorted((each["HttpMethod"], each["AuthorizationType"]) for each in methods) == [("GET", "AWS_IAM"), ("POST", "AWS_IAM")]


def test_the_gateways_own_refusals_are_json_with_an_error(synthesis: Synthesis) -> None:
    for each in synthesis.resources("AWS::ApiGateway::GatewayResponse").values():
        template = each["Properties"]["ResponseTemplates"]["application/json"]
        assert json.loads(template.replace("$context.error.messageString", '"Forbidden"'))["error"]


def functions(synthesis: Synthesis) -> dict[str, dict[str, Any]]:
    return {each["Properties"]["Handler"]: each["Properties"] for each in synthesis.resources("AWS::Lambda::Function").values()}


def test_every_handler_can_be_imported_from_its_archive(synthesis: Synthesis) -> None:
    """In a fresh interpreter that sees the archive and the standard library's neighbours only, as in Lambda."""
    assets = json.loads((synthesis.folder / "whippet.assets.json").read_text())["files"]
    for handler, properties in functions(synthesis).items():
        asset = assets[properties["Code"]["S3Key"].removesuffix(".zip")]["source"]["path"]
        module, _, name = handler.rpartition(".")
        code = f"import {module}; assert callable({module}.{name}); assert {module}.__file__.startswith({str(synthesis.folder)!r})"
        done = subprocess.run([sys.executable, "-c", code], cwd=synthesis.folder / asset, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_archive_of_the_functions_holds_only_them(synthesis: Synthesis) -> None:
    (folder,) = {path.parent for path in synthesis.folder.glob("asset.*/lambdas")}
    assert {path.name for path in folder.iterdir()} == {"lambdas"}
    assert {path.suffix for path in (folder / "lambdas").iterdir()} == {".py", ".html"}


class ReadKeys(dict[str, str]):
    """An environment that remembers what was read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> str:
        self.read.add(key)
        return "x"


def test_the_environment_set_is_the_environment_read(synthesis: Synthesis) -> None:
    environment = ReadKeys()
    Settings.read(environment)
    set_by_lambda = {"AWS_REGION"}
    read = {
        "lambdas.prepare_execution.handler": environment.read - set_by_lambda,
        "lambdas.assess_model.handler": set(),
        "lambdas.show_page.handler": set(),
    }
    source = Path(importlib.import_module("lambdas.invoke_endpoint").__file__ or "").read_text()
    read["lambdas.invoke_endpoint.handler"] = set(re.findall(r'os\.environ\["(\w+)"\]', source))
    written = {name: set(each.get("Environment", {}).get("Variables", {})) for name, each in functions(synthesis).items()}
    assert written == read


def test_another_configuration_is_another_stack(tmp_path: Path) -> None:
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine:1"
    other = synthesise(tmp_path, project="beagle", api_authorization="none", serving_image_cpu=image, serving_image_gpu=image)
    methods = other.resources("AWS::ApiGateway::Method").values()
    assert {each["Properties"]["AuthorizationType"] for each in methods} == {"NONE"}
    assert functions(other)["lambdas.prepare_execution.handler"]["Environment"]["Variables"]["SERVING_IMAGE_GPU"] == image
    assert other.resource("AWS::StepFunctions::StateMachine")["StateMachineName"] == "beagle"
    pulled = [
        each for statement in statements(other) if "ecr:BatchGetImage" in statement["Action"] for each in listed(statement["Resource"])
    ]
    assert "arn:aws:ecr:eu-west-1:123456789012:repository/mine" in map(concrete, pulled)


def test_two_syntheses_write_the_same(synthesis: Synthesis, tmp_path: Path) -> None:
    assert synthesise(tmp_path).template == synthesis.template
