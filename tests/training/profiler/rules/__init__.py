"""Tests of the profiler rules, one file a rule: planted measurements are found, healthy ones are not."""
