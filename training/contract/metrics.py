"""The metric lines that a training job prints, and the regular expressions by which SageMaker reads them.

Runs anywhere, standard library only.
"""

import re

METRIC_PREFIX = "[metric]"
"""What every metric line starts with."""

METRIC_NAMES = (
    "train:loss",
    "train:accuracy",
    "valid:loss",
    "valid:accuracy",
    "objective:valid_loss",
    "best:epoch",
    "best:valid_loss",
    "best:valid_accuracy",
    "test:loss",
    "test:accuracy",
    "test:top5_accuracy",
    "test:macro_f1",
    "test:calibration_error",
)
"""Every metric the job prints; `best:*` once after training, `test:*` only where the test photos are evaluated."""

METRICS = {name: rf"{re.escape(METRIC_PREFIX)} {name}=([-+]?[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?)" for name in METRIC_NAMES}
"""Metric name -> regular expression for `AlgorithmSpecification.MetricDefinitions`; a NaN matches none of them."""

OBJECTIVE_METRIC = "objective:valid_loss"
"""Lowest mean validation loss so far, printed each epoch: the tuning job minimises it."""

OBJECTIVE_TYPE = "Minimize"
