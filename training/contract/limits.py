"""Limits that several rooms share: what SageMaker takes, and how long its jobs may run.

Runs anywhere, standard library only. A limit that one file alone needs stands in that file; those of photos stand in `photos`.
"""

MOST_EPOCHS = 1000
LARGEST_BATCH = 4096
LARGEST_SEED = 2**31 - 1
"""Of a tuning job's RandomSeed."""

MOST_TUNING_JOBS = 750
"""Training jobs that a tuning job launches, those of the tuning jobs that it starts from included."""
MOST_RANGE_VALUES = 30
"""Values of a categorical parameter range."""
MOST_PARENTS = 5
"""Tuning jobs that a tuning job can start from."""

LONGEST_HYPERPARAMETER = 2_500
"""Characters of a hyperparameter's value."""

LONGEST_JOB_SECONDS = 24 * 3600
"""Longest run of a processing or training job of ours."""
LONGEST_SPOT_WAIT_SECONDS = 6 * 3600
"""Longest wait of a training job for spare machines, beside its longest run."""

SERVERLESS_MEMORY_MB = range(1024, 6144 + 1, 1024)
"""Memory of a worker of a serverless endpoint."""

LARGEST_REQUEST_BYTES = 6 * 1024 * 1024
"""Body of a request to an endpoint with instances."""
