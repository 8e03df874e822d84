"""Findings about a folder of images, from features: cropped copies, look-alikes and doubtful labels."""
