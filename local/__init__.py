"""Local mode: the AWS engine, the SageMaker plane, its jobs and model servers, all on the user's machine. Never imports `stacks/`."""
