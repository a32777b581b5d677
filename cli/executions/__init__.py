"""Executions as a person reads them: states, jobs, metrics, rule results and the assessment."""
