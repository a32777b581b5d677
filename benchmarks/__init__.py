"""Measurements: one script a claim, its results in `results/`. Runs on any machine; see each script for its command."""
