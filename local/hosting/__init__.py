"""Models, endpoint configs and endpoints, each endpoint with a real server process; deployments, metrics and scaling."""
