"""The decision whether a model is deployed: evaluation, rule results, comparison with the champion, gate."""
