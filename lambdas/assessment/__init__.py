"""Whether a model is deployed: what was measured, what the rules found, the comparison with the champion, the gate."""
