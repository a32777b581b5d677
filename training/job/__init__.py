"""What every program of a job needs: refusals, stopping, metric lines, files, provenance. Knows nothing of photos or networks."""
