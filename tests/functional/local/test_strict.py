"""Strict local mode on the real engine: over TLS, and whoever works in a role's name may do what the role may and nothing else."""

import io
import json
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from ssl import create_default_context
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.api.account import REGION
from local.engine.decisions import Decision, read_decisions
from local.image_environment import ImageEnvironment
from local.mode import ACCESS_KEY, SECRET_KEY, LocalMode
from tests.fixtures.local.running import wait_until

ACCOUNT = "000000000000"
BUCKET = "strict-tests"
S3 = f"arn:aws:s3:::{BUCKET}"
LOGS = {"Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "arn:aws:logs:*:*:log-group:*:*"}


@dataclass(frozen=True)
class StrictMode:
    """Strict local mode that runs."""

    mode: LocalMode

    def client(self, service: str, **credentials: str) -> Any:
        """A boto3 client of the user, or with other credentials."""
        given = credentials or {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
        config = Config(retries={"total_max_attempts": 1}, read_timeout=120)
        trusted = str(self.mode.certificate.authority)
        return boto3.client(service, endpoint_url=self.mode.engine_url, region_name=REGION, verify=trusted, config=config, **given)

    def role(self, service: str, *statements: dict[str, Any], account: str = ACCOUNT) -> str:
        """A role that one service may assume for `account`, and that may do what the statements say; returns its ARN."""
        name = f"role-{uuid.uuid4().hex[:12]}"
        here = {"StringEquals": {"aws:SourceAccount": account}}
        trust = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole", "Condition": here}
        iam = self.client("iam")
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))["Role"]["Arn"]
        document = {"Statement": [{"Effect": "Allow", **each} for each in statements]}
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(document))
        return arn

    def function(self, source: str, role: str) -> str:
        """A function with the given role; returns its ARN."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("handler.py", source)
        name = f"f-{uuid.uuid4().hex[:12]}"
        created = self.client("lambda").create_function(
            FunctionName=name, Runtime="python3.12", Role=role, Handler="handler.handler", Code={"ZipFile": buffer.getvalue()}
        )
        return str(created["FunctionArn"])

    def process(self, role: str, program: str, isolated: bool = True) -> dict[str, Any]:
        """Run a processing job that has read inputs/ and leaves what it wrote under outputs/; returns its description."""
        name, sagemaker = f"job-{uuid.uuid4().hex[:12]}", self.client("sagemaker")
        given = {"S3Uri": f"s3://{BUCKET}/inputs/", "LocalPath": "/opt/ml/processing/in", "S3DataType": "S3Prefix", "S3InputMode": "File"}
        made = {"S3Uri": f"s3://{BUCKET}/outputs/", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
        sagemaker.create_processing_job(
            ProcessingJobName=name,
            RoleArn=role,
            AppSpecification={"ImageUri": "image", "ContainerEntrypoint": ["python3", "-c", program]},
            ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}},
            ProcessingInputs=[{"InputName": "in", "S3Input": given}],
            ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": made}]},
            NetworkConfig={"EnableNetworkIsolation": isolated},
        )
        job: dict[str, Any] = wait_until(
            lambda: sagemaker.describe_processing_job(ProcessingJobName=name), lambda seen: seen["ProcessingJobStatus"] != "InProgress", 60
        )
        return job

    def execute(self, role: str, resource: str, request: dict[str, Any]) -> dict[str, Any]:
        """Run a state machine of one task with the given role to its end; returns the execution."""
        task = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": request, "End": True}
        definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "Task", "States": {"Task": task}})
        sfn = self.client("stepfunctions")
        machine = sfn.create_state_machine(name=f"m-{uuid.uuid4().hex[:12]}", definition=definition, roleArn=role)["stateMachineArn"]
        arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
        execution: dict[str, Any] = wait_until(
            lambda: sfn.describe_execution(executionArn=arn), lambda seen: seen["status"] != "RUNNING", 60
        )
        return execution

    def decisions(self, role: str) -> list[Decision]:
        """What was decided for a role."""
        return [each for each in read_decisions(self.mode.decisions_file) if each.role == role.rpartition("/")[2]]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, image: ImageEnvironment) -> Iterator[StrictMode]:
    """Engine and plane, and a bucket with one object."""
    mode = LocalMode(tmp_path_factory.mktemp("strict-mode"), image, first_port=0, strict=True)
    mode.start()
    running = StrictMode(mode)
    running.client("s3").create_bucket(Bucket=BUCKET)
    running.client("s3").put_object(Bucket=BUCKET, Key="inputs/words.txt", Body=b"words")
    yield running
    mode.stop()


def test_it_speaks_tls_alone_and_tells_every_tool_whom_to_trust(strict: StrictMode) -> None:
    settings = strict.mode.settings()
    assert settings["AWS_ENDPOINT_URL"].startswith("https://127.0.0.1:")
    authority = str(strict.mode.certificate.authority)
    assert (settings["AWS_CA_BUNDLE"], settings["NODE_EXTRA_CA_CERTS"]) == (authority, authority)
    assert strict.mode.api_url("https://a.execute-api.us-east-1.amazonaws.com/v1/predict").startswith(strict.mode.engine_url)
    health = "/_ministack/health"
    with urllib.request.urlopen(strict.mode.engine_url + health, context=create_default_context(cafile=authority)) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(strict.mode.engine_url + health, timeout=10)
    with pytest.raises(OSError):
        urllib.request.urlopen(strict.mode.engine_url.replace("https:", "http:") + health, timeout=10)


def test_a_job_reads_and_writes_with_its_own_role(strict: StrictMode) -> None:
    reads = {"Action": "s3:ListBucket", "Resource": S3}, {"Action": "s3:GetObject", "Resource": f"{S3}/inputs/*"}
    role = strict.role("sagemaker", *reads, {"Action": "s3:PutObject", "Resource": f"{S3}/outputs/*"}, LOGS)
    job = strict.process(role, "print(open('/opt/ml/processing/in/words.txt').read()); open('/opt/ml/processing/out/made', 'w').write('x')")
    assert job["ProcessingJobStatus"] == "Completed", job
    decided = {(each.action, each.resource): each.by for each in strict.decisions(role)}
    assert decided["s3:GetObject", f"{S3}/inputs/words.txt"] == "own[1]"
    assert decided["s3:PutObject", f"{S3}/outputs/made"] == "own[2]"
    stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/sagemaker/ProcessingJobs:log-stream:"
    assert decided["logs:PutLogEvents", stream] == "own[3]"


def test_what_the_role_may_not_read_or_write_fails_the_job_in_awss_words(strict: StrictMode) -> None:
    lists = {"Action": "s3:ListBucket", "Resource": S3}
    blind = strict.process(strict.role("sagemaker", lists), "pass")
    assert blind["ProcessingJobStatus"] == "Failed"
    assert "is not authorized to perform: s3:GetObject" in blind["FailureReason"]
    reads = {"Action": "s3:GetObject", "Resource": f"{S3}/*"}
    mute = strict.process(strict.role("sagemaker", lists, reads), "open('/opt/ml/processing/out/made', 'w').write('x')")
    assert mute["ProcessingJobStatus"] == "Failed"
    assert mute["FailureReason"].startswith("ClientError: ") and "AccessDenied" in mute["FailureReason"]


def test_only_who_may_list_is_told_that_an_object_is_missing(strict: StrictMode) -> None:
    reads, lists = {"Action": "s3:GetObject", "Resource": f"{S3}/*"}, {"Action": "s3:ListBucket", "Resource": S3}
    for statements, code in (((reads,), "AccessDenied"), ((reads, lists), "NoSuchKey")):
        role = strict.role("lambda", *statements)
        source = f"import boto3\n\ndef handler(event, context):\n    boto3.client('s3').get_object(Bucket='{BUCKET}', Key='absent')\n"
        answer = strict.client("lambda").invoke(FunctionName=strict.function(source, role))
        assert f"({code})" in answer["Payload"].read().decode()


def test_what_one_role_has_read_another_may_not_read_from_its_cache(strict: StrictMode) -> None:
    lists, reads = {"Action": "s3:ListBucket", "Resource": S3}, {"Action": "s3:GetObject", "Resource": f"{S3}/inputs/*"}
    assert strict.process(strict.role("sagemaker", lists, reads), "pass")["ProcessingJobStatus"] == "Completed"
    assert strict.process(strict.role("sagemaker", lists), "pass")["ProcessingJobStatus"] == "Failed"


def test_a_job_that_is_not_isolated_finds_its_roles_credentials(strict: StrictMode) -> None:
    reads = {"Action": ["s3:ListBucket", "s3:GetObject"], "Resource": [S3, f"{S3}/inputs/*"]}
    role = strict.role("sagemaker", reads, {"Action": "s3:PutObject", "Resource": f"{S3}/outputs/*"})
    program = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'], file=open('/opt/ml/processing/out/me', 'w'))"
    assert strict.process(role, program, isolated=False)["ProcessingJobStatus"] == "Completed"
    said = strict.client("s3").get_object(Bucket=BUCKET, Key="outputs/me")["Body"].read().decode().strip()
    assert said == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/SageMaker"


@pytest.mark.parametrize(("service", "account"), [("lambda", ACCOUNT), ("sagemaker", "111111111111")])
def test_a_role_that_does_not_trust_sagemaker_here_is_refused(strict: StrictMode, service: str, account: str) -> None:
    role = strict.role(service, account=account)
    with pytest.raises(ClientError, match=f"Could not assume role {role}. Please ensure that the role exists") as caught:
        strict.process(role, "pass")
    assert caught.value.response["Error"]["Code"] == "ValidationException"


MODEL = {"ModelName": "m", "ExecutionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/hosting"}
CREATES = {"Action": "sagemaker:CreateModel", "Resource": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model/m"}


@pytest.mark.parametrize(
    ("statement", "resource", "request_", "error", "denied"),
    [
        ({}, "sagemaker:createModel", MODEL, "SageMaker.AmazonSageMakerException", "sagemaker:CreateModel on resource: arn:aws:sagemaker:"),
        (CREATES, "sagemaker:createModel", MODEL, "SageMaker.AmazonSageMakerException", "iam:PassRole on resource: arn:aws:iam:"),
        ({}, "aws-sdk:sagemaker:describeEndpoint", {"EndpointName": "e"}, "SageMaker.SageMakerException", "sagemaker:DescribeEndpoint"),
        ({}, "lambda:invoke", {"FunctionName": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"}, "Lambda.AWSLambdaException", "lambda:"),
        ({}, "sns:publish", {"TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:t", "Message": "m"}, "SNS.AuthorizationErrorException", "sns:"),
    ],
)
def test_a_state_machine_does_what_its_role_may(
    strict: StrictMode, statement: dict[str, Any], resource: str, request_: dict[str, Any], error: str, denied: str
) -> None:
    role = strict.role("states", *([statement] if statement else []))
    execution = strict.execute(role, resource, request_)
    assert (execution["status"], execution["error"]) == ("FAILED", error)
    who = f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/states"
    assert execution["cause"].startswith(f"{who} is not authorized to perform: {denied}")
    assert "because no identity-based policy allows the " in execution["cause"]


def test_a_role_is_passed_to_the_service_that_the_policy_names(strict: StrictMode) -> None:
    for service, passed in (("sagemaker", True), ("lambda", False)):
        condition = {"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}}
        passes = {"Action": "iam:PassRole", "Resource": MODEL["ExecutionRoleArn"], "Condition": condition}
        execution = strict.execute(strict.role("states", CREATES, passes), "sagemaker:createModel", MODEL)
        # Of one that is passed only the plane says what is wrong with the request.
        assert ("is not authorized" not in execution["cause"]) is passed, execution["cause"]


def test_a_state_machine_of_a_role_that_step_functions_may_not_assume_does_nothing(strict: StrictMode) -> None:
    execution = strict.execute(strict.role("lambda", CREATES), "sagemaker:createModel", MODEL)
    assert "cannot be assumed by states.amazonaws.com" in execution["cause"]


def test_an_integration_whose_permissions_are_not_known_is_refused(strict: StrictMode) -> None:
    everything = {"Action": "*", "Resource": "*"}
    execution = strict.execute(strict.role("states", everything), "dynamodb:putItem", {"TableName": "t", "Item": {}})
    assert "strict local mode does not know which permissions" in execution["cause"]


def test_a_function_asks_sagemaker_with_its_own_role_and_has_a_log_only_if_it_may(strict: StrictMode) -> None:
    source = "import boto3\n\ndef handler(event, context):\n    boto3.client('sagemaker').list_models()\n"
    groups = {}
    for statements in ((), ({"Action": "sagemaker:ListModels", "Resource": "*"}, LOGS)):
        function = strict.function(source, strict.role("lambda", *statements))
        answer = strict.client("lambda").invoke(FunctionName=function)
        groups[function] = (answer.get("FunctionError"), answer["Payload"].read().decode())
    (bare, refused), (allowed, done) = groups.items()
    assert "is not authorized to perform: sagemaker:ListModels" in refused[1] and refused[0]
    assert done == (None, "null")
    logs = strict.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/f-")["logGroups"]
    assert [each["logGroupName"] for each in logs] == [f"/aws/lambda/{allowed.rpartition(':')[2]}"]
    assert bare != allowed


def test_who_has_no_permission_may_not_invoke_an_endpoint(strict: StrictMode) -> None:
    role = strict.role("sagemaker")
    iam, name = strict.client("iam"), role.rpartition("/")[2]
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}]}
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    given = strict.client("sts").assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    keys = {"aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"]}
    runtime = strict.client("sagemaker-runtime", **keys, aws_session_token=given["SessionToken"])
    with pytest.raises(ClientError, match="is not authorized to perform: sagemaker:InvokeEndpoint") as caught:
        runtime.invoke_endpoint(EndpointName="e", Body=b"x")
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"


def test_the_api_calls_a_function_that_lets_it_for_who_has_signed(strict: StrictMode) -> None:
    gateway = strict.client("apigateway")
    api = gateway.create_rest_api(name="strict")["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    function = strict.function(
        "def handler(event, context):\n    return {'statusCode': 200, 'body': 'done'}\n", strict.role("lambda", LOGS)
    )
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function}/invocations"
    for method, kind in (("POST", "AWS_IAM"), ("GET", "NONE")):
        gateway.put_method(restApiId=api, resourceId=root, httpMethod=method, authorizationType=kind)
        gateway.put_integration(restApiId=api, resourceId=root, httpMethod=method, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    gateway.create_deployment(restApiId=api, stageName="v1")

    def call(method: str) -> int:
        url = strict.mode.api_url(f"https://{api}.execute-api.{REGION}.amazonaws.com/v1/")
        request = urllib.request.Request(url, method=method, data=b"x" if method == "POST" else None)
        try:
            with urllib.request.urlopen(request, context=create_default_context(cafile=strict.mode.certificate.authority)) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert (call("POST"), call("GET")) == (403, 500)
    source = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/v1/GET/"
    permission = {"Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com", "SourceArn": source}
    strict.client("lambda").add_permission(FunctionName=function, StatementId="api", **permission)
    assert (call("POST"), call("GET")) == (403, 200)


def test_it_can_be_left_and_entered_with_what_lies_in_s3(tmp_path: Path, image: ImageEnvironment) -> None:
    """Also while a client keeps its connection open, which must not hold up the engine's end."""
    strict, plain = LocalMode(tmp_path, image, first_port=0, strict=True), LocalMode(tmp_path, image)
    try:
        strict.start()
        s3 = StrictMode(strict).client("s3")
        s3.create_bucket(Bucket=BUCKET)
        began = time.monotonic()
        plain.start()
        assert time.monotonic() - began < 20
        assert strict.settings() == plain.settings()
        assert plain.engine_url.startswith("http:") and "AWS_CA_BUNDLE" not in plain.settings()
        keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": REGION}
        buckets = boto3.client("s3", endpoint_url=plain.engine_url, **keys).list_buckets()["Buckets"]
        assert [each["Name"] for each in buckets] == [BUCKET]
        strict.start()
        assert [each["Name"] for each in StrictMode(strict).client("s3").list_buckets()["Buckets"]] == [BUCKET]
    finally:
        strict.stop()
