"""What the features of a network say of an image folder: crops, look-alikes in other classes, doubtful labels."""
