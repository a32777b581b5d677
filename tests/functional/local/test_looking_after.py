"""The functions that look after a deployment, against local mode's own SageMaker, over its wire: what they do to each other's work."""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdas.aws.endpoint_waking import Alarm
from lambdas.aws.executions import running
from lambdas.aws.model_registry import newest_deployed
from lambdas.clean_up import clean_up
from lambdas.prune_models import prune
from lambdas.reap_execution import executions_of, reap
from lambdas.scale_endpoint import scale
from lambdas.start_retraining import STARTED_BEFORE, Retraining, retrain
from lambdas.stop_idle_endpoint import stop_idle
from tests.fixtures.local.endpoint_requests import SERVE, wait_for_endpoint
from tests.fixtures.local.running import IMAGE, ROLE, Local, archive

PROJECT = "lodge"
OLD_RUN = f"{PROJECT}-261101120000-0001"
WAITS = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}


class Account:
    """One project's deployment."""

    def __init__(self, local: Local) -> None:
        self.local = local
        self.sagemaker, self.stepfunctions = local.client("sagemaker"), local.client("stepfunctions")
        self.autoscaling, self.cloudwatch = local.client("application-autoscaling"), local.client("cloudwatch")
        self.sagemaker.create_model_package_group(ModelPackageGroupName=PROJECT)
        machine = self.stepfunctions.create_state_machine(name=PROJECT, definition=json.dumps(WAITS), roleArn=ROLE)
        self.state_machine_arn = machine["stateMachineArn"]
        self.artefact = local.put("lodge/model.tar.gz", archive({"code/serve": SERVE, "word.txt": "one"}))

    def version(self, run: str) -> str:
        """A model and its endpoint config, which may grow to three instances; the config's name."""
        model, config = f"{run}-00000001", f"{run}-00000002"
        container = {"Image": IMAGE, "ModelDataUrl": self.artefact}
        self.sagemaker.create_model(ModelName=model, PrimaryContainer=container, ExecutionRoleArn=ROLE, EnableNetworkIsolation=True)
        variant = {"VariantName": "AllTraffic", "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        tags = [{"Key": "max_instance_count", "Value": "3"}]
        self.sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant], Tags=tags)
        return config

    def record(self, config: str, **metadata: str) -> None:
        """As RegisterModel and RecordDeployment do."""
        containers = [{"Image": IMAGE, "ModelDataUrl": self.artefact}]
        inference = {"Containers": containers, "SupportedContentTypes": ["image/jpeg"], "SupportedResponseMIMETypes": ["application/json"]}
        package = self.sagemaker.create_model_package(
            ModelPackageGroupName=PROJECT, InferenceSpecification=inference, CustomerMetadataProperties=metadata or {"run": OLD_RUN}
        )
        deployed = {"endpoint_config": config, "model": f"{config[:-1]}1"}
        self.sagemaker.update_model_package(
            ModelPackageArn=package["ModelPackageArn"], ModelApprovalStatus="Approved", CustomerMetadataProperties=deployed
        )

    def statuses(self, *statuses: str) -> dict[str, Any]:
        return wait_for_endpoint(self.local, PROJECT, *statuses)

    def configs(self) -> set[str]:
        listed = self.sagemaker.list_endpoint_configs(NameContains=f"{PROJECT}-", MaxResults=100)["EndpointConfigs"]
        return {each["EndpointConfigName"] for each in listed}

    def is_there(self) -> bool:
        with contextlib.suppress(ClientError):
            return bool(self.sagemaker.describe_endpoint(EndpointName=PROJECT))
        return False


@pytest.fixture
def account(local: Local) -> Iterator[Account]:
    made = Account(local)
    yield made
    made.stepfunctions.delete_state_machine(stateMachineArn=made.state_machine_arn)
    for package in made.sagemaker.list_model_packages(ModelPackageGroupName=PROJECT)["ModelPackageSummaryList"]:
        made.sagemaker.delete_model_package(ModelPackageName=package["ModelPackageArn"])
    made.sagemaker.delete_model_package_group(ModelPackageGroupName=PROJECT)
    with contextlib.suppress(ClientError):
        made.sagemaker.delete_endpoint(EndpointName=PROJECT)


def test_an_endpoint_sleeps_wakes_grows_and_is_taken_back_from_an_execution_that_was_stopped(account: Account) -> None:
    sagemaker, stepfunctions, autoscaling = account.sagemaker, account.stepfunctions, account.autoscaling
    alarm = Alarm(sagemaker, PROJECT, PROJECT)
    assert alarm.look() is None, "nothing was ever deployed"

    old = account.version(OLD_RUN)
    account.record(old, run=OLD_RUN, photos_sha256="abc")
    newest = newest_deployed(sagemaker, PROJECT)
    assert newest is not None
    assert (newest.endpoint_config, newest.metadata["photos_sha256"]) == (old, "abc"), "recording adds to what was registered"
    woken = alarm.look()
    assert woken is not None
    assert woken.retry_after == 300
    assert account.statuses("InService", "Failed")["EndpointConfigName"] == old

    assert scale(PROJECT, 120, sagemaker, autoscaling) == {"scaled": True, "min": 1, "max": 3}
    (target,) = autoscaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["ResourceId"], target["MaxCapacity"]) == (f"endpoint/{PROJECT}/variant/AllTraffic", 3)

    started = stepfunctions.start_execution(stateMachineArn=account.state_machine_arn)
    (execution,) = running(stepfunctions, account.state_machine_arn)
    run = execution.run(PROJECT)
    new = account.version(run)
    assert prune(PROJECT, 1, {run}, sagemaker)["deleted"] == []
    sagemaker.update_endpoint(EndpointName=PROJECT, EndpointConfigName=new)
    account.statuses("InService", "Failed")
    stepfunctions.stop_execution(executionArn=started["executionArn"])
    ended = executions_of({}, stepfunctions, account.state_machine_arn, lambda: datetime.now(UTC))
    assert [each.arn for each in ended] == [started["executionArn"]]
    reap(ended, PROJECT, stepfunctions, sagemaker, autoscaling)
    assert autoscaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    assert account.statuses("InService", "Failed")["EndpointConfigName"] == old
    answer = reap(ended, PROJECT, stepfunctions, sagemaker, autoscaling)[run]
    assert answer == {"stopped": [], "deleted": [new, f"{run}-00000001"], "left": []}
    assert account.configs() == {old}

    now = datetime.now(UTC)
    idle = timedelta(hours=24)
    assert stop_idle(PROJECT, idle, sagemaker, account.cloudwatch, lambda: now)["reason"] == "it was changed less than 24 hours ago"
    assert stop_idle(PROJECT, idle, sagemaker, account.cloudwatch, lambda: now + 2 * idle)["deleted"] is True
    assert not account.is_there()
    assert clean_up(OLD_RUN, PROJECT, sagemaker) == {"stopped": [], "deleted": [], "left": []}, "what would wake stays"
    assert alarm.look() is not None
    account.statuses("InService")


def test_photos_that_have_changed_start_one_execution(account: Account) -> None:
    local = account.local
    for name in ("king", "rook"):
        for number in range(3):
            local.put(f"lodge-photos/{name}/{number}.jpg", b"x")
    asked = Retraining(local.bucket, PROJECT, account.state_machine_arn, timedelta(minutes=30), '{"data": "lodge-photos"}')
    s3, now = local.client("s3"), datetime.now(UTC)

    def look(later: timedelta) -> dict[str, Any]:
        return retrain(asked, s3, account.sagemaker, account.stepfunctions, lambda: now + later)

    assert "less than 30 minutes ago" in look(timedelta())["reason"]
    started = look(timedelta(hours=1))
    assert started["reason"] == "the photos have changed since the newest model"
    assert look(timedelta(hours=1))["reason"] == "an execution is running"
    account.stepfunctions.stop_execution(executionArn=started["execution_arn"])
    assert look(timedelta(hours=1))["reason"] == STARTED_BEFORE
