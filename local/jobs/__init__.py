"""Processing jobs, training jobs and their rules, each a real process with the inputs of a SageMaker container."""
