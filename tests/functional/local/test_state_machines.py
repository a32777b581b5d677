"""The adapter's seams, seen from outside: state machines that call SageMaker and Lambda on the real engine."""

import json
import time
import urllib.error
import urllib.request

import pytest

from local.engine.adapter import list_missing_seams, parse_traceback
from local.engine.sync_tasks import make_error_name
from tests.fixtures.local.running import Local, wait_until
from tests.fixtures.local.state_machines import ended, job_named, make_function, run_machine, training_task


def test_every_private_name_that_the_adapter_hooks_into_exists_in_the_pinned_version() -> None:
    assert list_missing_seams() == []


def test_sync_returns_the_description_of_the_finished_job(local: Local) -> None:
    program = local.put_program("sync", "print('[metric] objective:valid_loss=0.25')")
    output = "{% {'status': $states.result.TrainingJobStatus, 'model': $states.result.ModelArtifacts.S3ModelArtifacts} %}"
    execution = ended(local, run_machine(local, {"Train": training_task(local, program, "sync-job", Output=output)}))
    assert execution["status"] == "SUCCEEDED", execution
    assert json.loads(execution["output"]) == {"status": "Completed", "model": f"s3://{local.bucket}/output/sync-job/output/model.tar.gz"}


def test_a_failed_job_is_task_failed_with_the_description_as_cause(local: Local) -> None:
    program = "s3://no-such-bucket-at-all/x"
    catch = [{"ErrorEquals": ["States.TaskFailed"], "Next": "Told", "Output": "{% $parse($states.errorOutput.Cause).FailureReason %}"}]
    states = {"Train": training_task(local, program, "sync-fails", Catch=catch), "Told": {"Type": "Pass", "End": True}}
    execution = ended(local, run_machine(local, states))
    assert execution["status"] == "SUCCEEDED" and "the bucket" in execution["output"]


def test_arguments_are_evaluated_again_at_each_retry(local: Local) -> None:
    """A retried task has to get a new job name from $uuid(), for names can be used only once."""
    task = training_task(local, "s3://no-such-bucket-at-all/x", "{% 'retried-' & $substring($uuid(), 0, 8) %}")
    task["Retry"] = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1}]
    assert ended(local, run_machine(local, {"Train": task}))["status"] == "FAILED"
    names = {job["TrainingJobName"] for job in job_named(local, "retried-")}
    assert len(names) == 2


def test_a_wrong_request_carries_the_name_of_aws_and_says_what_is_wrong(local: Local) -> None:
    task = training_task(local, "s3://b/p", "never")
    task["Arguments"]["ResourceConfig"]["VolumeSizeInGB"] = "five"
    execution = ended(local, run_machine(local, {"Train": task}))
    assert execution["error"] == "SageMaker.AmazonSageMakerException"
    assert "Value 'five' at 'resourceConfig.volumeSizeInGB' is of type str: it must be an Integer" in execution["cause"]


def test_the_sdk_integration_names_a_missing_endpoint_as_the_sdk_does(local: Local) -> None:
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint",
        "Arguments": {"EndpointName": "absent"},
        "End": True,
    }
    execution = ended(local, run_machine(local, {"Describe": task}))
    assert execution["error"] == "SageMaker.SageMakerException"
    assert execution["cause"].startswith('Could not find endpoint "arn:aws:sagemaker:us-east-1:000000000000:endpoint/absent".')


@pytest.mark.parametrize("how", ["stop", "task timeout", "machine timeout"])
def test_the_job_of_an_execution_that_ends_early_is_stopped(local: Local, how: str) -> None:
    program = local.put_program("endless", "import time\ntime.sleep(600)")
    name = "endless-" + how.replace(" ", "-")
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 2}] if how == "stop" else []
    timeout = {"TimeoutSeconds": 4} if how == "task timeout" else {"TimeoutSeconds": 500}
    machine = {"TimeoutSeconds": 4} if how == "machine timeout" else {}
    arn = run_machine(local, {"Train": training_task(local, program, name, Retry=retry, **timeout)}, **machine)
    wait_until(lambda: job_named(local, name), bool, 20)
    if how == "stop":
        local.client("stepfunctions").stop_execution(executionArn=arn, error="ByHand", cause="enough")
    execution = ended(local, arn)
    assert execution["status"] == {"stop": "ABORTED", "task timeout": "FAILED", "machine timeout": "TIMED_OUT"}[how]
    assert local.wait_for_job(name, 30)["TrainingJobStatus"] == "Stopped"
    time.sleep(1.5)
    assert local.client("stepfunctions").describe_execution(executionArn=arn)["status"] == execution["status"]
    assert len(job_named(local, name)) == 1, "a job was started after the execution had ended"


def test_retry_and_catch_match_the_class_that_a_lambda_raised(local: Local) -> None:
    function = make_function(
        local,
        """
        class WrongInput(Exception):
            pass

        def handler(event, context):
            raise WrongInput("lr is reversed:\\n0.1 > 0.001")
        """,
    )
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": {}},
        "Catch": [{"ErrorEquals": ["WrongInput"], "Next": "Told", "Output": "{% $parse($states.errorOutput.Cause) %}"}],
        "End": True,
    }
    execution = ended(local, run_machine(local, {"Prepare": task, "Told": {"Type": "Pass", "End": True}}))
    cause = json.loads(execution["output"])
    assert cause["errorType"] == "WrongInput" and cause["errorMessage"] == "lr is reversed:\n0.1 > 0.001"
    assert any("handler.py" in frame for frame in cause["stackTrace"])


def test_output_of_a_succeed_state_is_evaluated(local: Local) -> None:
    execution = ended(local, run_machine(local, {"Done": {"Type": "Succeed", "Output": "{% {'twice': $states.input.n * 2} %}"}}, {"n": 4}))
    assert json.loads(execution["output"]) == {"twice": 8}


def test_an_execution_knows_that_it_was_never_redriven(local: Local) -> None:
    told = {"Type": "Pass", "Output": "{% {'redrives': $states.context.Execution.RedriveCount} %}", "End": True}
    assert json.loads(ended(local, run_machine(local, {"Tell": told}))["output"]) == {"redrives": 0}


def test_an_unsigned_call_is_taken_and_a_body_beyond_the_limits_of_api_gateway_answered_413(local: Local) -> None:
    gateway = local.client("apigateway")
    api = gateway.create_rest_api(name="limits", binaryMediaTypes=["image/jpeg"])["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    gateway.put_method(restApiId=api, resourceId=root, httpMethod="POST", authorizationType="AWS_IAM")
    function = make_function(local, "def handler(event, context):\n    return {'statusCode': 200, 'body': str(len(event['body']))}\n")
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
    gateway.put_integration(restApiId=api, resourceId=root, httpMethod="POST", type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    template = {"application/json": '{"error": $context.error.messageString}'}
    gateway.put_gateway_response(restApiId=api, responseType="REQUEST_TOO_LARGE", responseTemplates=template)
    gateway.create_deployment(restApiId=api, stageName="v1")

    def post(size: int) -> tuple[int, bytes]:
        url = local.mode.api_url(f"https://{api}.execute-api.us-east-1.amazonaws.com/v1/")
        request = urllib.request.Request(url, data=b"x" * size, headers={"Content-Type": "image/jpeg"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    assert post(3_000_000) == (200, b"4000000")
    for size in (5_000_000, 11_000_000):
        status, body = post(size)
        assert status == 413 and json.loads(body) == {"error": "Request Too Long"}


def test_a_versioned_bucket_keeps_every_version_readable(local: Local) -> None:
    """The adapter drops the bodies that the engine keeps in memory: what is read then comes from the files."""
    s3 = local.client("s3")
    s3.create_bucket(Bucket="versioned-tests")
    s3.put_bucket_versioning(Bucket="versioned-tests", VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket="versioned-tests", Key="a/b.bin", Body=body)["VersionId"] for body in (b"one" * 1000, b"two" * 1000)]
    bodies = [s3.get_object(Bucket="versioned-tests", Key="a/b.bin", VersionId=version)["Body"].read() for version in versions]
    assert bodies == [b"one" * 1000, b"two" * 1000]
    s3.delete_object(Bucket="versioned-tests", Key="a/b.bin", VersionId=versions[1])
    assert s3.get_object(Bucket="versioned-tests", Key="a/b.bin")["Body"].read() == b"one" * 1000


@pytest.mark.parametrize(
    ("log", "name"),
    [
        ("no traceback at all", None),
        ('x\nTraceback (most recent call last):\n  File "a.py", line 1, in f\n    f()\nlambdas.prepare.WrongInput: a\nb', "WrongInput"),
        ("Traceback (most recent call last):\n  a\nKeyError: 'a'\n\nTraceback (most recent call last):\n  b\nValueError", "ValueError"),
    ],
)
def test_the_class_of_an_error_is_read_from_its_traceback(log: str, name: str | None) -> None:
    assert parse_traceback(log)[0] == name


def test_error_names_follow_the_integration() -> None:
    assert make_error_name("ValidationException") == "SageMaker.AmazonSageMakerException"
    assert make_error_name("ValidationException", sdk=True) == "SageMaker.SageMakerException"
    assert make_error_name("ResourceLimitExceeded") == "SageMaker.ResourceLimitExceededException"
    assert make_error_name("ResourceInUse", sdk=True) == "SageMaker.ResourceInUseException"
