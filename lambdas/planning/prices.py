"""What a machine of SageMaker costs an hour: AWS's list prices, and those that the account itself has put into its bucket.

Runs inside Lambda functions; standard library only. The bucket may hold `prices.json`, a JSON object of instance types and US dollars an
hour, such as {"ml.m5.2xlarge": 0.554}: what it names goes before the list, which knows neither other regions nor discounts.

    prices = read_prices(s3, bucket, "eu-central-1")
    prices.per_hour("ml.m5.2xlarge")    # Decimal, or None where nobody has said what it costs
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

from lambdas.request.instance_types import INSTANCE_TYPE
from training.contract.fields import is_number, shown

PRICES_DATE = "2026-09-01"
"""The day of the price list that the table below holds."""

LIST_REGION = "us-east-1"
SAME_REGIONS = (LIST_REGION, "us-east-2", "us-west-2")
"""Regions whose machines cost what they cost in us-east-1; everywhere else they cost more."""

OVERRIDES = "prices.json"
"""The object in the stack's bucket that goes before the list."""

MOST_PER_HOUR = 10_000

SERVERLESS_PER_GB_SECOND = Decimal("0.00002")
"""Of a serverless endpoint, while it answers; between two requests it costs nothing."""
STORAGE_PER_GB_MONTH = Decimal("0.14")
"""A job's disk, as long as the job runs."""
HOURS_PER_MONTH = 730

LIST_PRICES: Mapping[str, Decimal] = {
    instance: Decimal(price)
    for instance, price in {
        "ml.m5.large": "0.115",
        "ml.m5.xlarge": "0.23",
        "ml.m5.2xlarge": "0.461",
        "ml.m5.4xlarge": "0.922",
        "ml.m5.12xlarge": "2.765",
        "ml.m5.24xlarge": "5.53",
        "ml.c5.large": "0.102",
        "ml.c5.xlarge": "0.204",
        "ml.c5.2xlarge": "0.408",
        "ml.c5.4xlarge": "0.816",
        "ml.c5.9xlarge": "1.836",
        "ml.c5.18xlarge": "3.672",
        "ml.g4dn.xlarge": "0.7364",
        "ml.g4dn.2xlarge": "0.94",
        "ml.g4dn.4xlarge": "1.505",
        "ml.g4dn.8xlarge": "2.72",
        "ml.g4dn.12xlarge": "4.89",
        "ml.g4dn.16xlarge": "5.44",
        "ml.g5.xlarge": "1.408",
        "ml.g5.2xlarge": "1.515",
        "ml.g5.4xlarge": "2.03",
        "ml.g5.8xlarge": "3.06",
        "ml.g5.12xlarge": "7.09",
        "ml.g5.16xlarge": "5.12",
        "ml.g5.24xlarge": "10.18",
        "ml.g5.48xlarge": "20.36",
        "ml.g6.xlarge": "1.127",
        "ml.g6.2xlarge": "1.222",
        "ml.g6.4xlarge": "1.654",
        "ml.g6.8xlarge": "2.518",
        "ml.g6.12xlarge": "5.752",
        "ml.g6.16xlarge": "4.246",
        "ml.g6.24xlarge": "8.344",
        "ml.g6.48xlarge": "16.688",
        "ml.p3.2xlarge": "3.825",
        "ml.p3.8xlarge": "14.688",
        "ml.p3.16xlarge": "28.152",
        "ml.p4d.24xlarge": "25.252",
    }.items()
}
"""US dollars an hour of processing, training and hosting, on demand, in us-east-1, which asks the same for all three.

Collected from published copies of AWS's price list. A price list changes: `prices.json` corrects it, and adds to it, without a deployment.
"""


class InvalidPrices(ValueError):  # noqa: N818 - the name is what the state machine shows
    """`prices.json` in the bucket is not what it should be; the message says what it must hold."""


@dataclass(frozen=True)
class Prices:
    """What is known of prices in one region."""

    region: str
    own: Mapping[str, Decimal] = field(default_factory=dict)
    """Those of `prices.json`."""

    def per_hour(self, instance: str) -> Decimal | None:
        """US dollars of one machine an hour; None where neither `prices.json` nor the list names it."""
        return self.own.get(instance, LIST_PRICES.get(instance))

    def is_sure(self, instance: str) -> bool:
        """Whether that price is one of this region, and not the list's for want of another."""
        return instance in self.own or (self.region in SAME_REGIONS and instance in LIST_PRICES)


def read_prices(s3: Any, bucket: str, region: str) -> Prices:
    """The prices that this account pays, as far as the bucket says; a `prices.json` that is wrong raises InvalidPrices."""
    try:
        written = s3.get_object(Bucket=bucket, Key=OVERRIDES)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return Prices(region)
        raise
    return Prices(region, parse_prices(written, f"s3://{bucket}/{OVERRIDES}"))


def parse_prices(written: bytes, where: str) -> dict[str, Decimal]:
    """Instance type -> US dollars an hour."""
    try:
        document = json.loads(written.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidPrices(f"{where} is not JSON in UTF-8 ({error}); correct it, or delete it to go by AWS's list prices") from error
    if not isinstance(document, dict):
        raise InvalidPrices(f'{where} must be a JSON object such as {{"ml.m5.2xlarge": 0.461}}, got {shown(document)}')
    for instance, price in document.items():
        if not INSTANCE_TYPE.fullmatch(instance):
            raise InvalidPrices(f"{where} must name SageMaker instance types such as ml.m5.2xlarge, got {shown(instance)}")
        if not is_number(price) or not 0 < price <= MOST_PER_HOUR:
            raise InvalidPrices(
                f"{where} must give {instance} a number of US dollars an hour, above 0 and at most {MOST_PER_HOUR:,}, got {shown(price)}"
            )
    return {instance: Decimal(str(price)) for instance, price in document.items()}
