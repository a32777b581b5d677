"""Functional tests of the Lambda functions."""
