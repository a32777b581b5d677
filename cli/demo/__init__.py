"""The demo, `make demo`: photos and weights from package registries, one execution in local mode, one answer from the API."""
