"""Findings about an image folder from a network's features: crops, look-alikes in other classes, doubtful labels."""
