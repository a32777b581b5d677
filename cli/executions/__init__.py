"""Executions in readable form: states, jobs, metrics, rule results and the assessment."""
