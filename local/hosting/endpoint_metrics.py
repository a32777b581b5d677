"""Sends SageMaker's metrics for each endpoint and variant to the engine's CloudWatch.

Runs in the SageMaker plane, on a separate thread: an invocation only records its numbers. Metrics that cannot be sent are dropped
with a line in the plane's log. Latencies are rounded to two digits, so that many invocations have few different values.
"""

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

NAMESPACE = "AWS/SageMaker"
INTERVAL_S = 5.0
MOST_VALUES = 150
"""The maximum number of values in one datum of PutMetricData."""
UNITS = {"ModelLatency": "Microseconds", "OverheadLatency": "Microseconds"}
log = logging.getLogger("endpoint-metrics")

Series = tuple[str, str, str, str]


class EndpointMetrics:
    """Records invocations and sends them every few seconds; `close` sends the rest."""

    def __init__(self, cloudwatch: Any, interval_s: float = INTERVAL_S) -> None:
        """Send with this boto3 client."""
        self._cloudwatch = cloudwatch
        self._interval_s = interval_s
        self._noted: dict[Series, Counter[float]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="endpoint-metrics")
        self._thread.start()

    def note(self, endpoint: str, variant: str, config: str, status: int, model_s: float, overhead_s: float) -> None:
        """Record one invocation: the model's status (0 without an answer), and the seconds inside and outside the model."""
        values = {
            "Invocations": 1.0,
            "Invocation4XXErrors": float(400 <= status < 500),
            "Invocation5XXErrors": float(status >= 500 or status == 0),
            "ModelLatency": _round(model_s * 1e6),
            "OverheadLatency": _round(overhead_s * 1e6),
        }
        with self._lock:
            for metric, value in values.items():
                self._noted.setdefault((endpoint, variant, config, metric), Counter())[value] += 1

    def flush(self) -> None:
        """Send the invocations since the last call."""
        with self._lock:
            noted, self._noted = self._noted, {}
        data = [datum for series, values in noted.items() for datum in _make_data(series, values)]
        for start in range(0, len(data), 100):
            try:
                self._cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data[start : start + 100])
            except (BotoCoreError, ClientError) as error:
                log.warning("metrics of endpoints were dropped: %s", error)

    def close(self) -> None:
        """Send the rest and end."""
        self._closing.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        while not self._closing.wait(self._interval_s):
            self.flush()
        self.flush()


def _make_data(series: Series, values: Counter[float]) -> Iterator[dict[str, Any]]:
    """Make the data of one series for the variant and, as on AWS, for the variant with this endpoint config."""
    endpoint, variant, config, metric = series
    of_variant = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
    items = sorted(values.items())
    for dimensions in (of_variant, [*of_variant, {"Name": "EndpointConfigName", "Value": config}]):
        for start in range(0, len(items), MOST_VALUES):
            part = items[start : start + MOST_VALUES]
            yield {
                "MetricName": metric,
                "Dimensions": dimensions,
                "Values": [value for value, _count in part],
                "Counts": [float(count) for _value, count in part],
                "Unit": UNITS.get(metric, "None"),
            }


def _round(value: float) -> float:
    return float(f"{max(0.0, value):.1e}")
