"""The words that an execution chooses from: each enumeration stands here and nowhere else. The first word is the default.

Runs anywhere, standard library only.
"""

TRAINABLE = ("head", "last_stage", "all")
"""`head`: one linear layer on cached features; `last_stage`: also the backbone's layer4; `all`: the whole network."""

CLASS_WEIGHTS = ("balanced", "none")

DEBUGGER_MODES = ("embedded", "managed", "off")
"""Of debugger and profiler. `embedded`: the job saves tensors, measures and evaluates its rules; `managed`: AWS's Debugger evaluates what
the job saves; `off`: nothing is saved."""

INPUT_MODES = ("File", "FastFile")
"""How a channel brings photos: all before the job starts, or as the job reads them."""

STRATEGIES = ("Bayesian", "Random", "Hyperband", "Grid")
"""Of a tuning job."""

WARM_STRATEGIES = ("Bayesian", "Random")
"""Strategies that can start from the results of earlier tuning jobs."""

APPROVALS = ("automatic", "manual")
"""`automatic`: a model that passes the gate is deployed; `manual`: only after a reviewer approved it in the model registry."""

DEPLOYMENT_KINDS = ("instance", "serverless", "none")

UPDATES = ("canary", "linear", "all_at_once")
"""How a new model takes over the traffic of an endpoint with instances."""
