"""SageMaker's API in local mode: request validation from botocore's model, supported features, error answers, injected faults."""
