"""Shared by all programs of a job: refusals, stopping, metric lines, files, provenance. Independent of photos and networks."""
