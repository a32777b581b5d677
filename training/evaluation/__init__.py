"""Evaluation: the test set, calibration, predictions per photo, and the JSON schemas of both files."""
