"""What the adapter teaches the engine about the services around SageMaker, seen from outside on the real engine."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ministack import app
from ministack.core import router
from ministack.services import eventbridge

from local.engine import adapter_services
from tests.fixtures.local.engine_stacks import heard, listen, stack_at_rest, template
from tests.fixtures.local.running import Local, wait_until
from tests.fixtures.local.state_machines import ended, run_machine

ACCOUNT_ARN = "arn:aws:sagemaker:us-east-1:000000000000"


@pytest.fixture
def group(local: Local) -> Iterator[str]:
    """A model package group, removed with its versions."""
    name, sagemaker = f"group-{uuid.uuid4().hex[:8]}", local.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    yield name
    for package in sagemaker.list_model_packages(ModelPackageGroupName=name, MaxResults=100)["ModelPackageSummaryList"]:
        sagemaker.delete_model_package(ModelPackageName=package["ModelPackageArn"])
    sagemaker.delete_model_package_group(ModelPackageGroupName=name)


def test_a_stack_makes_tags_and_removes_a_model_package_group(local: Local) -> None:
    cloudformation, sagemaker = local.client("cloudformation"), local.client("sagemaker")
    name, arn = "stacked", f"{ACCOUNT_ARN}:model-package-group/stacked"
    tags = [{"Key": "project", "Value": "whippet"}]
    given = template(name, ModelPackageGroupDescription="dogs, 50 % and more", Tags=tags)
    cloudformation.create_stack(StackName="registry", TemplateBody=given)
    stack = stack_at_rest(local, "registry")
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    assert {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]} == {"Arn": arn, "Status": "Completed"}
    assert sagemaker.describe_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupDescription"] == "dogs, 50 % and more"
    found = {each["Key"]: each["Value"] for each in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert found["project"] == "whippet" and found["aws:cloudformation:stack-name"] == "registry"

    changed = template(name, ModelPackageGroupDescription="dogs, 50 % and more", Tags=[{"Key": "owner", "Value": "me"}])
    cloudformation.update_stack(StackName="registry", TemplateBody=changed)
    assert stack_at_rest(local, "registry")["StackStatus"] == "UPDATE_COMPLETE"
    found = {each["Key"]: each["Value"] for each in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert found["owner"] == "me" and "project" not in found

    package = sagemaker.create_model_package(ModelPackageGroupName=name)["ModelPackageArn"]
    cloudformation.delete_stack(StackName="registry")
    assert stack_at_rest(local, "registry")["StackStatus"] == "DELETE_FAILED"
    sagemaker.delete_model_package(ModelPackageName=package)
    cloudformation.delete_stack(StackName="registry")
    with pytest.raises(ClientError, match="does not exist"):
        wait_until(lambda: sagemaker.describe_model_package_group(ModelPackageGroupName=name), lambda _seen: False, 20)


def test_a_stack_that_fails_takes_its_group_back(local: Local) -> None:
    local.client("cloudformation").create_stack(StackName="broken-registry", TemplateBody=template("taken-back", fails=True))
    stack = stack_at_rest(local, "broken-registry")
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE", stack
    events = local.client("cloudformation").describe_stack_events(StackName="broken-registry")["StackEvents"]
    assert any("Model Package Group already exists" in event.get("ResourceStatusReason", "") for event in events)
    with pytest.raises(ClientError, match="does not exist"):
        local.client("sagemaker").describe_model_package_group(ModelPackageGroupName="taken-back")


def sdk_task(action: str, arguments: dict[str, Any], **state: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": f"arn:aws:states:::aws-sdk:sagemaker:{action}", "Arguments": arguments, "End": True, **state}


def test_state_machines_register_approve_and_describe_versions(local: Local, group: str) -> None:
    arn = "{% $arn %}"
    states = {
        "Register": sdk_task(
            "createModelPackage", {"ModelPackageGroupName": group}, Assign={"arn": "{% $states.result.ModelPackageArn %}"}, Next="Approve"
        ),
        "Approve": sdk_task(
            "updateModelPackage",
            {"ModelPackageArn": arn, "ModelApprovalStatus": "Approved", "CustomerMetadataProperties": {"endpoint_config": "c"}},
            Next="Describe",
        ),
        "Describe": sdk_task("describeModelPackage", {"ModelPackageName": arn}),
    }
    for state in ("Register", "Approve"):
        states[state].pop("End")
    execution = ended(local, run_machine(local, states))
    described = json.loads(execution["output"])
    assert described["ModelApprovalStatus"] == "Approved" and described["CustomerMetadataProperties"] == {"endpoint_config": "c"}


def test_errors_of_the_registry_have_the_names_that_step_functions_gives_them(local: Local, group: str) -> None:
    missing = sdk_task("describeModelPackage", {"ModelPackageName": f"{ACCOUNT_ARN}:model-package/{group}/7"})
    execution = ended(local, run_machine(local, {"Describe": missing}))
    assert execution["error"] == "SageMaker.SageMakerException" and "does not exist." in execution["cause"]
    local.client("sagemaker").create_model_package(ModelPackageGroupName=group)
    full = sdk_task("deleteModelPackageGroup", {"ModelPackageGroupName": group})
    assert ended(local, run_machine(local, {"Delete": full}))["error"] == "SageMaker.ConflictException"


def test_a_rule_on_executions_hears_how_they_end(local: Local) -> None:
    statuses = {"status": ["SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"]}
    name = listen(local, {"source": ["aws.states"], "detail-type": ["Step Functions Execution Status Change"], "detail": statuses})
    succeeded = ended(local, run_machine(local, {"Done": {"Type": "Succeed"}}))
    failed = ended(local, run_machine(local, {"Not": {"Type": "Fail", "Error": "Mine", "Cause": "because"}}))
    waits = {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}
    aborted = run_machine(local, waits)
    local.client("stepfunctions").stop_execution(executionArn=aborted, error="ByHand", cause="enough")
    timed_out = ended(local, run_machine(local, waits, TimeoutSeconds=1))
    told = {event["detail"]["executionArn"]: event["detail"] for event in heard(local, name, least=4)}
    ours = {succeeded["executionArn"]: "SUCCEEDED", failed["executionArn"]: "FAILED", aborted: "ABORTED"}
    ours[timed_out["executionArn"]] = "TIMED_OUT"
    assert {arn: told[arn]["status"] for arn in ours} == ours
    assert all(isinstance(told[arn]["startDate"], int) and isinstance(told[arn]["stopDate"], int) for arn in ours)


def test_a_task_publishes_to_a_topic_whose_subscriber_hears(local: Local) -> None:
    sns, sqs = local.client("sns"), local.client("sqs")
    topic = sns.create_topic(Name="told")["TopicArn"]
    queue = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def publish(**arguments: Any) -> dict[str, Any]:
        task = {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", "Arguments": arguments, "End": True}
        return ended(local, run_machine(local, {"Notify": task}))

    execution = publish(TopicArn=topic, Subject="whippet: done", Message="The model answers.")
    assert execution["status"] == "SUCCEEDED" and "MessageId" in json.loads(execution["output"]), execution
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    body = json.loads(message["Body"])
    assert (body["Subject"], body["Message"]) == ("whippet: done", "The model answers.")
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert publish(TopicArn=topic, Message={"run": "r", "accuracy": 0.5})["status"] == "SUCCEEDED"
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    assert json.loads(json.loads(message["Body"])["Message"]) == {"run": "r", "accuracy": 0.5}
    absent = publish(TopicArn=f"{topic}-absent", Message="to nobody")
    assert absent["error"] == "SNS.NotFoundException", absent


def test_alarms_look_at_their_own_dimensions_and_know_what_no_data_means(local: Local) -> None:
    cloudwatch = local.client("cloudwatch")

    def put(endpoint: str, value: float) -> None:
        datum = {"MetricName": "Invocation5XXErrors", "Dimensions": [{"Name": "EndpointName", "Value": endpoint}], "Value": value}
        cloudwatch.put_metric_data(Namespace="AWS/SageMaker", MetricData=[datum])

    def state(name: str) -> str:
        return str(cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"])

    common: dict[str, Any] = {"Namespace": "AWS/SageMaker", "MetricName": "Invocation5XXErrors", "Statistic": "Sum", "Threshold": 0.0}
    common |= {"ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1, "TreatMissingData": "notBreaching"}
    for name in ("mine", "yours"):
        dimensions = [{"Name": "EndpointName", "Value": name}]
        cloudwatch.put_metric_alarm(AlarmName=name, Dimensions=dimensions, Period=10 if name == "mine" else 60, **common)
    put("mine", 1.0)
    assert (state("mine"), state("yours")) == ("ALARM", "OK")
    time.sleep(10.5)
    put("yours", 0.0)
    assert (state("mine"), state("yours")) == ("OK", "OK")


def test_scaling_is_kept_and_described_and_fails_as_on_aws(local: Local) -> None:
    scaling = local.client("application-autoscaling")
    where = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/absent/variant/AllTraffic"}
    of_variant = {**where, "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    with pytest.raises(ClientError, match="No SageMaker endpoint variant found for service namespace: sagemaker") as caught:
        scaling.register_scalable_target(**of_variant, MinCapacity=1, MaxCapacity=2)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(scaling.exceptions.ObjectNotFoundException):
        scaling.deregister_scalable_target(**of_variant)
    with pytest.raises(scaling.exceptions.ObjectNotFoundException):
        scaling.put_scaling_policy(**of_variant, PolicyName="p", PolicyType="TargetTrackingScaling")
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []


def test_the_engine_keeps_no_list_of_the_events_that_it_has_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads it, and it holds the whole description of a job for each step that one takes."""
    monkeypatch.setattr(app, "SERVICE_HANDLERS", {})
    monkeypatch.setattr(router, "SERVICE_PATTERNS", {})
    adapter_services._accept_service_events()
    (handle,) = app.SERVICE_HANDLERS.values()
    entry = {"Source": "aws.sagemaker", "DetailType": "SageMaker Endpoint State Change", "Detail": "{}"}
    status, _headers, body = asyncio.run(handle("POST", "/", {}, json.dumps({"Entries": [entry]}).encode(), {}))
    assert status == 200 and json.loads(body)["FailedEntryCount"] == 0
    assert eventbridge._events_log_list() == []
