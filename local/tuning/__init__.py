"""Tuning jobs: search strategies, early stopping, warm start, and the training jobs they launch."""
