"""The study of feature maps: how spectra and shares of values <= 0 depend on images, depth and weights."""
