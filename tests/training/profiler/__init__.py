"""Tests of the profiler: what it measures, how that is judged, and the page that shows it."""
