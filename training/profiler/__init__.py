"""Measures a job and its machine during training, and analyses afterwards where the time was spent.

Runs in training jobs. `profiler` is what the training talks to; everything else is behind it.
"""
