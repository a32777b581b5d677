"""The training itself: the loop, a head on cached features, fine-tuning, checkpoints."""
