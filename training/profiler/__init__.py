"""Measures a job and its machine while it trains, and judges afterwards where the time went.

Runs in training jobs. `profiler` is what the training talks to; everything else is behind it.
"""
