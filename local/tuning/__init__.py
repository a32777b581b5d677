"""Tuning jobs: search strategies, early stopping, warm start, the training jobs that they launch."""
