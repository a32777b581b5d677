"""The account that a verb works in: the deployment, its model versions, quotas and billable resources."""
