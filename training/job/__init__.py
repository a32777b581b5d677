"""Shared by all programs of a job: failures, stopping, metric lines, files, provenance. Independent of photos and networks."""
