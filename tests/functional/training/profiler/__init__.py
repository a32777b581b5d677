"""Functional tests of the jobs and the model server: profiler."""
