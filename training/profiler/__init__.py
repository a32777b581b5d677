"""Measures a job and its machine during training, and analyses afterwards where the time was spent.

Runs in training jobs. The training uses `profiler`; all other modules are internal.
"""
