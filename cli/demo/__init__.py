"""The demo, `make demo`: photos and weights from package registries, one execution in local mode, one prediction from the API."""
