"""What the functions ask AWS for: clients, jobs, executions, the endpoint, the model registry, the log."""
