"""Local mode: the AWS engine, the SageMaker plane, its jobs and model servers, all on one machine. Never imports `stacks/`."""
