"""Findings about a training job, ranked: from its history, metrics, rules and profile."""
