"""Models, endpoint configs and endpoints, each endpoint a real server process; deployments, metrics and scaling."""
