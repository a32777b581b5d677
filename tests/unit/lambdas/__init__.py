"""Unit tests of the Lambda functions."""
