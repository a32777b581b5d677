"""Local mode: the AWS engine and the SageMaker plane on one machine. Runs on the user's machine; reads what was deployed, never `stacks/`."""
