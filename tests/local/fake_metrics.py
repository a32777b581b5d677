"""CloudWatch that keeps the metrics it is given."""

from typing import Any

from botocore.exceptions import EndpointConnectionError


class FakeCloudWatch:
    """CloudWatch that keeps what it is sent, or does not answer."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.away = False

    def put_metric_data(self, Namespace: str, MetricData: list[dict[str, Any]]) -> None:  # noqa: N803 - as boto3 calls it
        if self.away:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
        self.sent += [{"Namespace": Namespace, **datum} for datum in MetricData]
