"""From an execution input to the requests: the plan of each job, the endpoint, photos, weights, costs."""
