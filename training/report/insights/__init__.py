"""What a person should know of a training job, ranked: from its history, metrics, rules and profile."""
