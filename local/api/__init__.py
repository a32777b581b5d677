"""SageMaker's API as local mode answers it: shapes from botocore's model, what is refused, failures that a person rehearses."""
