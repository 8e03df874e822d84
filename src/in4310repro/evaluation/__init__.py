"""Results of a network on images: scores, labels, feature maps, and doubtful images of a folder.

`prediction` gives scores of any images, `evaluation` metrics of a run's network, `feature_maps` and `doubts` the rest.
"""
