"""Calls to AWS: clients, jobs, executions, the endpoint, the model registry, the log."""
