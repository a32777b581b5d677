"""Processing jobs, training jobs and their rules, each a real process with the environment of a SageMaker container."""
