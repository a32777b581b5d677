"""Endpoints, run for real: a standard-library server out of a model artefact, behind InvokeEndpoint."""

import contextlib
import datetime
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.host.processes import PidFiles
from tests.fixtures.local.endpoint_requests import SERVE, invoke, make_config, wait_for_endpoint
from tests.fixtures.local.engine_stacks import heard, listen
from tests.fixtures.local.running import IMAGE, ROLE, Local, archive, wait_until


def test_an_endpoint_serves_is_updated_without_a_gap_and_goes(local: Local) -> None:
    sagemaker = local.client("sagemaker")
    first = make_config(local, "first", {"code/serve": SERVE, "word.txt": "one"})
    sagemaker.create_endpoint(EndpointName="serves", EndpointConfigName=first)
    with pytest.raises(ClientError, match="Cannot create already existing endpoint"):
        sagemaker.create_endpoint(EndpointName="serves", EndpointConfigName=first)
    wait_for_endpoint(local, "serves", "InService", "Failed")
    assert invoke(local, "serves") == {"word": "one", "bytes": 5, "type": "image/jpeg"}

    second = make_config(local, "second", {"code/serve": SERVE, "word.txt": "two"})
    sagemaker.update_endpoint(EndpointName="serves", EndpointConfigName=second)
    words = []
    while sagemaker.describe_endpoint(EndpointName="serves")["EndpointStatus"] == "Updating":
        words.append(invoke(local, "serves")["word"])
    assert words and set(words) <= {"one", "two"}
    assert invoke(local, "serves")["word"] == "two"
    assert sagemaker.describe_endpoint(EndpointName="serves")["EndpointConfigName"] == "second"

    broken = make_config(local, "broken", {"code/serve": "#!/bin/sh\necho cannot load the weights\nexit 1\n"})
    sagemaker.update_endpoint(EndpointName="serves", EndpointConfigName=broken)
    endpoint = wait_for_endpoint(local, "serves", "InService", "Failed")
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "second")
    assert "cannot load the weights" in endpoint["FailureReason"]
    assert invoke(local, "serves")["word"] == "two"

    sagemaker.delete_endpoint(EndpointName="serves")
    with pytest.raises(ClientError, match=r"Endpoint serves of account 000000000000 not found\."):
        invoke(local, "serves")
    assert local.mode.status().jobs == 0


def test_a_model_that_cannot_load_ends_failed_with_the_end_of_its_log(local: Local) -> None:
    config = make_config(local, "unloadable", {"code/serve": "#!/bin/sh\necho the weights are of another model\nexit 1\n"})
    local.client("sagemaker").create_endpoint(EndpointName="unloadable", EndpointConfigName=config)
    endpoint = wait_for_endpoint(local, "unloadable", "InService", "Failed")
    assert endpoint["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in endpoint["FailureReason"]
    assert "the weights are of another model" in endpoint["FailureReason"]
    assert any("another model" in line for line in local.log_lines("/aws/sagemaker/Endpoints/unloadable", "AllTraffic/"))
    with pytest.raises(ClientError, match="which is Failed: delete it, then create it again"):
        local.client("sagemaker").update_endpoint(EndpointName="unloadable", EndpointConfigName=config)
    local.client("sagemaker").delete_endpoint(EndpointName="unloadable")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"word.txt": "no program"}, "has no executable code/serve"),
        ({"../../escape/serve": SERVE}, "not a tar.gz that can be unpacked safely"),
    ],
)
def test_an_artefact_that_cannot_be_served_is_named(local: Local, files: dict[str, str], sentence: str) -> None:
    name = f"unservable-{len(sentence)}"
    local.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=make_config(local, name, files))
    endpoint = wait_for_endpoint(local, name, "InService", "Failed")
    assert endpoint["EndpointStatus"] == "Failed" and sentence in endpoint["FailureReason"]
    local.client("sagemaker").delete_endpoint(EndpointName=name)


def test_errors_of_the_model_reach_the_caller_as_aws_words_them(local: Local) -> None:
    config = make_config(local, "errors", {"code/serve": SERVE, "word.txt": "one"})
    local.client("sagemaker").create_endpoint(EndpointName="errors", EndpointConfigName=config)
    wait_for_endpoint(local, "errors", "InService")
    with pytest.raises(ClientError) as caught:
        invoke(local, "errors", b"refuse")
    response = caught.value.response
    assert response["Error"]["Code"] == "ModelError" and response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 400 and json.loads(response["OriginalMessage"]) == {"error": "that is no photo"}
    assert response["Error"]["Message"].startswith("Received client error (400) from primary with message")
    with pytest.raises(ClientError, match="the limit of an invocation"):
        invoke(local, "errors", b"x" * (7 << 20))
    local.client("sagemaker").delete_endpoint(EndpointName="errors")


def test_a_server_that_dies_is_started_again(local: Local) -> None:
    config = make_config(local, "dies", {"code/serve": SERVE, "word.txt": "back"})
    local.client("sagemaker").create_endpoint(EndpointName="dies", EndpointConfigName=config)
    wait_for_endpoint(local, "dies", "InService")
    (record,) = PidFiles(local.mode.home / "run").list_records("server-dies-")
    os.kill(record.pid, signal.SIGKILL)
    wait_for_endpoint(local, "dies", "Updating")
    wait_for_endpoint(local, "dies", "InService")
    assert invoke(local, "dies")["word"] == "back"
    local.client("sagemaker").delete_endpoint(EndpointName="dies")


def test_configs_and_models_are_checked_described_listed_tagged_and_deleted(local: Local) -> None:
    sagemaker = local.client("sagemaker")
    name = make_config(local, "described", {"code/serve": SERVE})
    with pytest.raises(ClientError, match="already existing model"):
        make_config(local, "described", {})
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker.create_endpoint_config(EndpointConfigName="x", ProductionVariants=[{"VariantName": "A", "ModelName": "absent"}])
    with pytest.raises(ClientError, match=r"ProductionVariants\[A\]\.RoutingConfig is not supported in local mode"):
        variant = {"VariantName": "A", "ModelName": name, "RoutingConfig": {"RoutingStrategy": "RANDOM"}}
        sagemaker.create_endpoint_config(EndpointConfigName="x", ProductionVariants=[variant])
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        sagemaker.create_endpoint(EndpointName="x", EndpointConfigName="absent")
    assert sagemaker.describe_endpoint_config(EndpointConfigName=name)["ProductionVariants"][0]["ModelName"] == name
    assert name in [model["ModelName"] for model in sagemaker.list_models(MaxResults=100)["Models"]]
    arn = sagemaker.describe_model(ModelName=name)["ModelArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "project", "Value": "whippet"}])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "project", "Value": "whippet"}]
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    sagemaker.delete_model(ModelName=name)
    with pytest.raises(ClientError, match="Could not find model"):
        sagemaker.describe_model(ModelName=name)


def canary(*alarms: str, wait: int = 2) -> dict[str, Any]:
    """A DeploymentConfig: half of the traffic for `wait` seconds, then all of it for as long."""
    size = {"Type": "CAPACITY_PERCENT", "Value": 50}
    routing = {"Type": "CANARY", "CanarySize": size, "WaitIntervalInSeconds": wait}
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": wait, "MaximumExecutionTimeoutInSeconds": 1800}
    return {"BlueGreenUpdatePolicy": policy, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]}}


def make_alarm(local: Local, name: str, endpoint: str) -> None:
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}]
    local.client("cloudwatch").put_metric_alarm(
        AlarmName=name, Namespace="AWS/SageMaker", MetricName="Invocation4XXErrors", Dimensions=dimensions, Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=0.0, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching",
    )  # fmt: skip


def test_a_careful_update_shifts_traffic_step_by_step_and_an_alarm_gives_it_all_back(local: Local) -> None:
    sagemaker = local.client("sagemaker")
    first = make_config(local, "careful-first", {"code/serve": SERVE, "word.txt": "one"})
    second = make_config(local, "careful-second", {"code/serve": SERVE, "word.txt": "two"})
    sagemaker.create_endpoint(EndpointName="careful", EndpointConfigName=first)
    wait_for_endpoint(local, "careful", "InService")
    update = {"EndpointName": "careful", "EndpointConfigName": second}
    with pytest.raises(ClientError, match="names alarms that CloudWatch does not have: careful-errors"):
        sagemaker.update_endpoint(**update, DeploymentConfig=canary("careful-errors"))
    make_alarm(local, "careful-errors", "careful")

    sagemaker.update_endpoint(**update, DeploymentConfig=canary("careful-errors"))
    words, summaries = [], []
    while (seen := sagemaker.describe_endpoint(EndpointName="careful"))["EndpointStatus"] == "Updating":
        summaries.append(seen["PendingDeploymentSummary"])
        words.append(invoke(local, "careful")["word"])
    assert {"one", "two"} == set(words) and words[0] == "one" and words[-1] == "two"
    assert seen["EndpointConfigName"] == second and "PendingDeploymentSummary" not in seen and "FailureReason" not in seen
    assert seen["LastDeploymentConfig"] == canary("careful-errors")
    assert summaries[0]["EndpointConfigName"] == second
    assert summaries[-1]["ProductionVariants"][0]["VariantStatus"][0]["Status"] == "Baking"

    # The error is the client's own, but the alarm counts it: the new fleet is given up, the endpoint goes on as it was.
    sagemaker.update_endpoint(EndpointName="careful", EndpointConfigName=first, DeploymentConfig=canary("careful-errors", wait=600))
    with pytest.raises(ClientError, match="that is no photo"):
        invoke(local, "careful", b"refuse")
    endpoint = wait_for_endpoint(local, "careful", "InService", "Failed")
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", second)
    assert endpoint["FailureReason"].startswith(
        f"The update to endpoint config {first} was rolled back: CloudWatch alarm(s) [careful-errors]"
    )
    assert {invoke(local, "careful")["word"] for _number in range(4)} == {"two"}
    sagemaker.delete_endpoint(EndpointName="careful")
    assert local.mode.status().jobs == 0


def test_a_new_server_that_dies_while_it_is_watched_is_given_up(local: Local) -> None:
    sagemaker = local.client("sagemaker")
    immortal = SERVE.replace('if body == b"die"', 'if body == b"dies no more"')
    first = make_config(local, "dying-first", {"code/serve": immortal, "word.txt": "one"})
    second = make_config(local, "dying-second", {"code/serve": SERVE, "word.txt": "two"})
    sagemaker.create_endpoint(EndpointName="dying", EndpointConfigName=first)
    wait_for_endpoint(local, "dying", "InService")
    watched = {"BlueGreenUpdatePolicy": canary(wait=600)["BlueGreenUpdatePolicy"]}
    sagemaker.update_endpoint(EndpointName="dying", EndpointConfigName=second, DeploymentConfig=watched)
    with pytest.raises(ClientError, match="does not answer"):
        while True:  # the first server does not mind, and the second one hears half of it when it is healthy
            invoke(local, "dying", b"die")
    endpoint = wait_for_endpoint(local, "dying", "InService", "Failed")
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", first)
    assert "the new server ended by itself" in endpoint["FailureReason"]
    assert invoke(local, "dying")["word"] == "one"
    sagemaker.delete_endpoint(EndpointName="dying")


def test_metrics_events_and_scaling_of_an_endpoint_reach_the_engine(local: Local) -> None:
    sagemaker, scaling = local.client("sagemaker"), local.client("application-autoscaling")
    rule = listen(local, {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Endpoint State Change"]})
    began = datetime.datetime.now(datetime.UTC)
    config = make_config(local, "told", {"code/serve": SERVE, "word.txt": "one"})
    sagemaker.create_endpoint(EndpointName="told", EndpointConfigName=config, Tags=[{"Key": "project", "Value": "whippet"}])
    wait_for_endpoint(local, "told", "InService")
    for body in (b"photo", b"photo", b"refuse"):
        with contextlib.suppress(ClientError):
            invoke(local, "told", body)

    def count(metric: str, statistic: str = "Sum") -> float:
        dimensions = [{"Name": "EndpointName", "Value": "told"}, {"Name": "VariantName", "Value": "AllTraffic"}]
        points = local.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName=metric, Dimensions=dimensions, StartTime=began - datetime.timedelta(hours=1),
            EndTime=began + datetime.timedelta(hours=1), Period=7200, Statistics=[statistic],
        )["Datapoints"]  # fmt: skip
        return float(sum(point[statistic] for point in points))

    wait_until(lambda: count("Invocations"), lambda seen: seen == 3, 20)
    assert (count("Invocation4XXErrors"), count("Invocation5XXErrors"), count("ModelLatency", "SampleCount")) == (1, 0, 3)
    assert 0 < count("ModelLatency", "Maximum") < 60e6

    where = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/told/variant/AllTraffic"}
    of_variant = {**where, "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    target = scaling.register_scalable_target(**of_variant, MinCapacity=1, MaxCapacity=3)["ScalableTargetARN"]
    assert scaling.register_scalable_target(**of_variant, MaxCapacity=2)["ScalableTargetARN"] == target
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    tracking = {"TargetValue": 100.0, "PredefinedMetricSpecification": metric, "ScaleInCooldown": 300}
    policy = {**of_variant, "PolicyName": "invocations", "PolicyType": "TargetTrackingScaling"}
    arn = scaling.put_scaling_policy(**policy, TargetTrackingScalingPolicyConfiguration=tracking)["PolicyARN"]
    (found,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[where["ResourceId"]])["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 2)
    (kept,) = scaling.describe_scaling_policies(**where)["ScalingPolicies"]
    assert (kept["PolicyARN"], kept["TargetTrackingScalingPolicyConfiguration"]) == (arn, tracking)
    scaling.deregister_scalable_target(**of_variant)
    assert scaling.describe_scaling_policies(**where)["ScalingPolicies"] == []

    sagemaker.delete_endpoint(EndpointName="told")
    told = [event["detail"] for event in heard(local, rule, least=3) if event["detail"]["EndpointName"] == "told"]
    assert {detail["EndpointStatus"] for detail in told} == {"CREATING", "IN_SERVICE", "DELETING"}
    (serving,) = [detail for detail in told if detail["EndpointStatus"] == "IN_SERVICE"]
    assert serving["EndpointConfigName"] == config and serving["Tags"] == {"project": "whippet"}
    local.client("events").disable_rule(Name=rule)


def test_a_serverless_endpoint_keeps_the_limits_of_aws(local: Local) -> None:
    sagemaker = local.client("sagemaker")
    # It answers b"slow" when the test lets it, and tells when it has begun to.
    wait = "(base / 'began').touch() or [__import__('time').sleep(0.05) for _ in iter((base / 'go').exists, True)]"
    slow_server = SERVE.replace('if body == b"refuse"', f'if body == b"slow" and ({wait}) is None')
    uri = local.put("models/serverless/model.tar.gz", archive({"code/serve": slow_server, "word.txt": "one"}))
    container = {"Image": IMAGE, "ModelDataUrl": uri}
    sagemaker.create_model(ModelName="serverless", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    sagemaker.create_model(ModelName="isolated", PrimaryContainer=container, ExecutionRoleArn=ROLE, EnableNetworkIsolation=True)
    gpu = {**container, "Image": IMAGE.replace("cpu", "cu133")}
    sagemaker.create_model(ModelName="gpu", PrimaryContainer=gpu, ExecutionRoleArn=ROLE)

    def make(name: str, model: str, **fields: Any) -> None:
        serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 1, **fields.pop("ServerlessConfig", {})}
        variant = {"VariantName": "AllTraffic", "ModelName": model, "ServerlessConfig": serverless, **fields}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])

    for model, fields, told in (
        ("isolated", {}, "Network isolation is not supported for serverless endpoints"),
        ("gpu", {}, "serverless endpoints run on CPUs"),
        ("serverless", {"InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}, "a variant has one of the two"),
        ("serverless", {"ServerlessConfig": {"MemorySizeInMB": 1500}}, "it must be 1024, 2048"),
        ("serverless", {"ServerlessConfig": {"ProvisionedConcurrency": 1}}, "ServerlessConfig.ProvisionedConcurrency is not supported"),
    ):
        with pytest.raises(ClientError, match=told):
            make("refused", model, **fields)
    make("serverless", "serverless")
    sagemaker.create_endpoint(EndpointName="serverless", EndpointConfigName="serverless")
    endpoint = wait_for_endpoint(local, "serverless", "InService", "Failed")
    assert endpoint["ProductionVariants"][0]["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 1}
    with pytest.raises(ClientError, match="an invocation takes at most 4194304"):
        invoke(local, "serverless", b"x" * (5 << 20))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(invoke, local, "serverless", b"slow")
        servers = local.mode.home / "sagemaker" / "endpoints" / "serverless"
        (began,) = wait_until(lambda: list(servers.glob("*/began")), bool, 30)
        with pytest.raises(ClientError, match="Rate exceeded") as caught:
            invoke(local, "serverless")
        assert caught.value.response["Error"]["Code"] == "ThrottlingException"
        began.with_name("go").touch()
        assert slow.result()["word"] == "one"
    assert invoke(local, "serverless")["word"] == "one"

    instances = make_config(local, "of-instances", {"code/serve": SERVE, "word.txt": "two"})
    sagemaker.update_endpoint(EndpointName="serverless", EndpointConfigName=instances)
    wait_for_endpoint(local, "serverless", "InService")
    with pytest.raises(ClientError, match="which has instances, to a serverless one"):
        sagemaker.update_endpoint(EndpointName="serverless", EndpointConfigName="serverless")
    sagemaker.delete_endpoint(EndpointName="serverless")


def test_more_instances_than_one_are_one_server(local: Local) -> None:
    sagemaker = local.client("sagemaker")
    model = make_config(local, "two-instances", {"code/serve": SERVE, "word.txt": "one"})
    variant = {"VariantName": "AllTraffic", "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}
    sagemaker.create_endpoint_config(EndpointConfigName="of-two", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="of-two", EndpointConfigName="of-two")
    (described,) = wait_for_endpoint(local, "of-two", "InService")["ProductionVariants"]
    assert (described["CurrentInstanceCount"], described["DesiredInstanceCount"]) == (2, 2)
    assert len(PidFiles(local.mode.home / "run").list_records("server-of-two-")) == 1
    sagemaker.delete_endpoint(EndpointName="of-two")
