"""The model as it is served: the artefact, the prediction, the HTTP application, the servers around it."""
