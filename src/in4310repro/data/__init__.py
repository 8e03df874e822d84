"""Images: drawn scenes, image folders, splits, decoding, batches, image sets for comparison, and the folder check."""
