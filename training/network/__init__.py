"""ResNet50, its weights, and repairs of torchvision."""
