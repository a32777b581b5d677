"""From an execution input to SageMaker's requests: the plan of each job, the endpoint, photos, weights, costs."""
