"""Planted faults that the rules must find, and healthy trainings that they must be silent about. Run: `python -m benchmarks.faults`."""
