"""The metrics that SageMaker sends to CloudWatch for each endpoint and variant, sent to the engine's CloudWatch.

Runs in the SageMaker plane, on a thread of its own: an invocation only notes its numbers. Metrics that the engine does not take are
lost, with a line in the plane's log. Latencies are rounded to two digits, so that many invocations are few values.
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
"""Values in one datum, by PutMetricData's rule."""
UNITS = {"ModelLatency": "Microseconds", "OverheadLatency": "Microseconds"}
log = logging.getLogger("endpoint-metrics")

Series = tuple[str, str, str, str]


class EndpointMetrics:
    """Notes invocations and sends them on every few seconds; `close` sends the rest."""

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
        """One invocation: the status its model answered (0 for no answer), and the seconds inside and outside the model."""
        values = {
            "Invocations": 1.0,
            "Invocation4XXErrors": float(400 <= status < 500),
            "Invocation5XXErrors": float(status >= 500 or status == 0),
            "ModelLatency": _two_digits(model_s * 1e6),
            "OverheadLatency": _two_digits(overhead_s * 1e6),
        }
        with self._lock:
            for metric, value in values.items():
                self._noted.setdefault((endpoint, variant, config, metric), Counter())[value] += 1

    def flush(self) -> None:
        """Send what was noted since the last time."""
        with self._lock:
            noted, self._noted = self._noted, {}
        data = [datum for series, values in noted.items() for datum in _data(series, values)]
        for start in range(0, len(data), 100):
            try:
                self._cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data[start : start + 100])
            except (BotoCoreError, ClientError) as error:
                log.warning("metrics of endpoints are lost: %s", error)

    def close(self) -> None:
        """Send the rest and end."""
        self._closing.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        while not self._closing.wait(self._interval_s):
            self.flush()
        self.flush()


def _data(series: Series, values: Counter[float]) -> Iterator[dict[str, Any]]:
    """The data of one series: of the variant, and, as AWS does too, of the variant with this endpoint config."""
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


def _two_digits(value: float) -> float:
    return float(f"{max(0.0, value):.1e}")
