"""Processing jobs, training jobs and their rules, each a real process; what SageMaker's containers would be given."""
