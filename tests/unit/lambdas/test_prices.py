"""The list of prices, and the object in the bucket that goes before it."""

from decimal import Decimal
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from lambdas.planning.prices import LIST_PRICES, InvalidPrices, Prices, parse_prices, read_prices
from lambdas.request.instance_types import ARM_FAMILY, FOREIGN_FAMILY
from tests.fixtures.lambdas.fake_s3 import FakeS3, error


def test_every_priced_machine_is_one_that_a_job_or_an_endpoint_may_run_on() -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    shapes = ("TrainingInstanceType", "ProcessingInstanceType", "ProductionVariantInstanceType")
    known = {each for name in shapes for each in model.shape_for(name).enum}
    assert {each for each in LIST_PRICES if each not in known or FOREIGN_FAMILY.match(each) or ARM_FAMILY.match(each)} == set()


@pytest.mark.parametrize("family", ["m5", "c5", "g4dn", "g5", "g6", "p3", "p4d"])
def test_a_larger_machine_with_as_many_gpus_costs_more(family: str) -> None:
    sizes = {each.rpartition(".")[2]: price for each, price in LIST_PRICES.items() if each.startswith(f"ml.{family}.")}
    one_gpu = ["large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "9xlarge", "16xlarge"]
    prices = [sizes[size] for size in one_gpu if size in sizes]
    assert prices == sorted(set(prices))
    assert sizes


def test_a_bucket_without_prices_goes_by_the_list() -> None:
    prices = read_prices(FakeS3(), "bucket", "us-east-1")
    assert (prices.per_hour("ml.m5.2xlarge"), prices.per_hour("ml.m4.xlarge")) == (Decimal("0.461"), None)


def test_prices_of_the_bucket_go_first_and_add_to_the_list() -> None:
    prices = read_prices(FakeS3({"prices.json": b'{"ml.m5.2xlarge": 0.554, "ml.g7.2xlarge": 2}'}), "bucket", "eu-central-1")
    assert [prices.per_hour(each) for each in ("ml.m5.2xlarge", "ml.g7.2xlarge", "ml.m5.large")] == [
        Decimal("0.554"),
        Decimal(2),
        Decimal("0.115"),
    ]
    assert [prices.is_sure(each) for each in ("ml.m5.2xlarge", "ml.g7.2xlarge", "ml.m5.large")] == [True, True, False]


@pytest.mark.parametrize(
    ("region", "sure"), [("us-east-1", True), ("us-east-2", True), ("us-west-2", True), ("us-west-1", False), ("eu-west-1", False)]
)
def test_the_list_is_sure_only_where_it_holds(region: str, sure: bool) -> None:
    assert Prices(region).is_sure("ml.m5.large") is sure
    assert not Prices(region).is_sure("ml.m4.xlarge")


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (b"{", "there is not JSON in UTF-8"),
        (b"\xff", "there is not JSON in UTF-8"),
        (b"[1]", "there must be a JSON object such as"),
        (b'{"m5.large": 1}', "there must name SageMaker instance types such as ml.m5.2xlarge, got 'm5.large'"),
        (b'{"ml.m5.large": "1"}', "there must give ml.m5.large a number of US dollars an hour, above 0 and at most 10,000, got '1'"),
        (b'{"ml.m5.large": 0}', "got 0"),
        (b'{"ml.m5.large": true}', "got True"),
        (b'{"ml.m5.large": NaN}', "got nan"),
        (b'{"ml.m5.large": 10001}', "got 10001"),
        (b"[" * 100_000, "there is not JSON"),
    ],
)
def test_prices_that_are_none_are_refused_with_a_sentence(written: bytes, sentence: str) -> None:
    with pytest.raises(InvalidPrices) as refused:
        parse_prices(written, "there")
    assert sentence in str(refused.value)


def test_a_refused_look_is_no_missing_object() -> None:
    class Denied(FakeS3):
        def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
            raise error("AccessDenied", 403)

    with pytest.raises(ClientError, match="AccessDenied"):
        read_prices(Denied(), "bucket", "us-east-1")
