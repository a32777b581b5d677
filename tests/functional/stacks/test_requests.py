"""The SageMaker requests of the state machine against botocore's model, and the checker against requests that are wrong on purpose."""

import copy
import json
import re
from typing import Any

import pytest

from stacks.state_machine import requests as requests
from stacks.state_machine.definition import definition
from tests.fixtures.stacks.request_shapes import faults_of
from training.contract import metrics
from training.contract.photos import CONTENT_TYPES


def readable(security: requests.Security = requests.OPEN) -> dict[str, Any]:
    """The definition, with requests that are one expression, into which no check reads, as they are before they become one."""
    written: dict[str, Any] = copy.deepcopy(definition(security))
    written["States"]["TuneHyperparameters"]["Arguments"] = requests.create_tuning_job(security)
    return written


@pytest.mark.parametrize("security", [requests.OPEN, requests.Security(kms=True), requests.Security(kms=True, vpc=True, subnets=2)])
def test_every_request_has_the_shape_that_the_api_demands(security: requests.Security) -> None:
    assert faults_of(readable(security)) == []


def change(state: str, *path: str | int, to: Any = None) -> dict[str, Any]:
    """The definition with one value set, or taken away if `to` is None."""
    changed = readable()
    place = changed["States"][state]
    for step in path[:-1]:
        place = place[step]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return changed


PREPARE = ("PrepareDataset", "Arguments")
TUNE = ("TuneHyperparameters", "Arguments", "TrainingJobDefinition")
TRAIN = ("TrainModel", "Arguments")


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (change(*TRAIN, "Hyperparameters", to={}), "createTrainingJob.Hyperparameters is unknown"),
        (change(*TRAIN, "RoleArn"), "RoleArn is missing"),
        (change(*TRAIN, "EnableNetworkIsolation", to="true"), "EnableNetworkIsolation must be a boolean"),
        (change(*TRAIN, "ResourceConfig", "VolumeSizeInGB", to=-1), "VolumeSizeInGB must be from 0"),
        (change(*TRAIN, "AlgorithmSpecification", "TrainingInputMode", to="Files"), "TrainingInputMode must be one of"),
        (change(*PREPARE, "ProcessingInputs", 0, "InputName"), "InputName is missing"),
        (change(*PREPARE, "ProcessingJobName", to="my job"), "ProcessingJobName must match"),
        (change(*PREPARE, "AppSpecification", "ContainerArguments", to=["x" * 257]), "ContainerArguments[0] must be from 0 to 256"),
        (change(*PREPARE, "StoppingCondition", "MaxRuntimeInSeconds", to=10 * 24 * 3600), "MaxRuntimeInSeconds must be from 1 to 777600"),
        (change(*TRAIN, "TrainingJobName", to="a" * 64), "TrainingJobName must be from 1 to 63"),
        (change(*TRAIN, "Tags", to={"Key": "project"}), "Tags must be a list"),
        (change(*TUNE, "DebugHookConfig", to={"S3OutputPath": "s3://b"}), "DebugHookConfig is unknown"),
        (change(*TUNE, "StaticHyperParameters", "epochs", to=20), "epochs must be a string"),
        (change(*TUNE, "Environment", to={f"E{i}": "1" for i in range(49)}), "Environment must be from"),
        (change("CreateModel", "Resource", to="arn:${Partition}:states:::sagemaker:createModel.sync"), "no integration"),
        (change("DescribeEndpoint", "Resource", to="arn:${Partition}:states:::sagemaker:describeEndpoint"), "no integration"),
        (
            change("DescribeEndpoint", "Resource", to="arn:${Partition}:states:::aws-sdk:sagemaker:describeEndpoints"),
            "no action describeEndpoints",
        ),
        (change("DescribeEndpoint", "Resource", to="arn:${Partition}:states:::aws-sdk:eks:describeCluster"), "no integration"),
        (change("NotifyDone", "Arguments", "Topic", to="x"), "publish.Topic is unknown"),
        (change("NotifyDone", "Arguments", "Message"), "publish.Message is missing"),
        (change("ReleaseScaling", "Arguments", "ServiceNamespace", to="SageMaker"), "ServiceNamespace must be one of"),
        (change("ExecutionFailed", "Arguments", "Reason", to="x"), "sendTaskFailure.reason is unknown"),
        (change("ExecutionFailed", "Arguments", "TaskToken", to="x"), "waits for a token that it does not hand on"),
        (change("RegisterModel", "Arguments", "ModelApprovalStatus", to="Pending"), "ModelApprovalStatus must be one of"),
        (
            change("RecordDeployment", "Arguments", "CustomerMetadataProperties", to={"a,b": "c"}),
            "CustomerMetadataProperties key must match",
        ),
    ],
)
def test_the_checker_sees_what_is_wrong(changed: dict[str, Any], fault: str) -> None:
    assert [each for each in faults_of(changed) if fault in each] != []


def test_every_metric_expression_compiles_and_has_one_group() -> None:
    definitions = definition()["States"]["TrainModel"]["Arguments"]["AlgorithmSpecification"]["MetricDefinitions"]
    assert {each["Name"] for each in definitions} == set(metrics.METRIC_NAMES)
    assert [each["Name"] for each in definitions if re.compile(each["Regex"]).groups != 1] == []


def test_the_objective_is_a_metric() -> None:
    assert metrics.OBJECTIVE_METRIC in metrics.METRICS


def test_a_model_is_registered_for_the_photos_that_the_route_takes() -> None:
    assert f'"SupportedContentTypes": {json.dumps(CONTENT_TYPES)}' in json.dumps(definition())
