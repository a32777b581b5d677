"""SageMaker's API in local mode: shapes from botocore's model, refused fields, rehearsed failures."""
