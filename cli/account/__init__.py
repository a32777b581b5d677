"""What an account, or the local one, holds: the deployment that a verb acts on, its model versions, quotas and billable resources."""
