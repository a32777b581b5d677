"""ScaleEndpoint: the bounds come from the config that the endpoint serves, and nothing scales where they are equal."""

from typing import Any

import pytest

from lambdas import scale_endpoint
from lambdas.aws import endpoint
from lambdas.scale_endpoint import deregister, scale
from stacks.state_machine.requests import VARIANT
from tests.fixtures.lambdas.fake_services import RUN, FakeAutoscaling
from tests.fixtures.sagemaker.account import PROJECT
from tests.fixtures.sagemaker.client import FakeSageMaker, fault

TARGET = f"endpoint/{PROJECT}/variant/AllTraffic"


def serving(most: str | None, **variant: Any) -> FakeSageMaker:
    sagemaker = FakeSageMaker()
    model = sagemaker.model(f"{RUN}-00000000")
    tags = {} if most is None else {"max_instance_count": most, "project": PROJECT, "execution": RUN}
    sagemaker.serve(sagemaker.config(f"{RUN}-00001000", model, tags, **variant))
    return sagemaker


def test_the_count_of_instances_follows_the_requests_between_its_bounds() -> None:
    autoscaling = FakeAutoscaling()
    assert scale(PROJECT, 90, serving("4", InitialInstanceCount=2), autoscaling) == {"scaled": True, "min": 2, "max": 4}
    assert autoscaling.targets[TARGET] == {
        "ServiceNamespace": "sagemaker",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "MinCapacity": 2,
        "MaxCapacity": 4,
    }
    policy = autoscaling.policies["invocations-per-instance"]["TargetTrackingScalingPolicyConfiguration"]
    assert policy["TargetValue"] == 90
    assert policy["PredefinedMetricSpecification"] == {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}


def test_the_same_event_twice_does_the_same() -> None:
    autoscaling, sagemaker = FakeAutoscaling(), serving("4")
    assert scale(PROJECT, 90, sagemaker, autoscaling) == scale(PROJECT, 90, sagemaker, autoscaling)
    assert len(autoscaling.targets) == 1


@pytest.mark.parametrize("most", ["1", "0", None, "", "many"])
def test_equal_bounds_turn_it_off_also_where_an_older_config_had_it_on(most: str | None) -> None:
    autoscaling = FakeAutoscaling()
    scale(PROJECT, 90, serving("4"), autoscaling)
    assert scale(PROJECT, 90, serving(most), autoscaling)["scaled"] is False
    assert (autoscaling.targets, autoscaling.policies) == ({}, {})


def test_a_serverless_endpoint_has_no_instances_to_scale() -> None:
    sagemaker, autoscaling = serving("4"), FakeAutoscaling()
    variant = sagemaker.configs[f"{RUN}-00001000"]["ProductionVariants"][0]
    del variant["InitialInstanceCount"]
    variant["ServerlessConfig"] = {"MemorySizeInMB": 4096, "MaxConcurrency": 5}
    assert scale(PROJECT, 90, sagemaker, autoscaling)["scaled"] is False


@pytest.mark.parametrize("status", ["Creating", "Updating", "Failed", "Deleting"])
def test_an_endpoint_that_is_not_in_service_any_more_is_left_to_its_next_event(status: str) -> None:
    sagemaker, autoscaling = serving("4"), FakeAutoscaling()
    sagemaker.serve(f"{RUN}-00001000", status)
    assert scale(PROJECT, 90, sagemaker, autoscaling) == {"scaled": False}
    assert autoscaling.targets == {}


def test_an_endpoint_that_is_gone_is_nothing_to_scale() -> None:
    assert scale(PROJECT, 90, FakeSageMaker(), FakeAutoscaling()) == {"scaled": False}


def test_another_endpoints_event_is_not_acted_upon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECT", PROJECT)
    assert scale_endpoint.handler({"detail": {"EndpointName": "whippet-2", "EndpointStatus": "IN_SERVICE"}}, None) == {"scaled": False}


def test_only_absence_is_let_pass_when_it_is_turned_off() -> None:
    class Refusing(FakeAutoscaling):
        def deregister_scalable_target(self, *, ResourceId: str, **_: Any) -> None:  # noqa: N803
            raise fault("AccessDeniedException", "you may not")

    with pytest.raises(Exception, match="you may not"):
        deregister(Refusing(), PROJECT)


def test_the_variant_is_the_one_of_the_requests() -> None:
    assert VARIANT == endpoint.VARIANT
