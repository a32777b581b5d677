"""Metric lines: the only code that formats them, so that the regular expressions of training.contract always match.

Runs in training jobs. A line is a single print of a single string: the training toolkit may split the output between two prints.
"""

from training.contract.metrics import METRIC_NAMES, METRIC_PREFIX


def format_metric(name: str, value: float) -> str:
    """Return the line that reports one value.

    Raises:
        ValueError: the contract does not name the metric.
    """
    if name not in METRIC_NAMES:
        raise ValueError(f"metric {name!r} is not in training.contract.METRIC_NAMES: {', '.join(METRIC_NAMES)}")
    return f"{METRIC_PREFIX} {name}={value:.6f}"


def print_metrics(**values: float) -> None:
    """Print one line per metric; the first underscore of a keyword stands for the colon: `valid_loss` is `valid:loss`."""
    for keyword, value in values.items():
        print(format_metric(keyword.replace("_", ":", 1), value), flush=True)
