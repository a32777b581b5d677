"""The Lambda functions, one file for each. Runs in AWS Lambda (and in local mode's workers) with the standard library and boto3 only."""
