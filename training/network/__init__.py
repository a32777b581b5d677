"""ResNet50, its weights, and what torchvision needs to be repaired."""
