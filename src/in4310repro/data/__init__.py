"""Images: drawn scenes, image folders, splits, decoding, batches, image sets for comparison, and the folder check.

`folders` lists and hashes them, `splits` divides them, `images` decodes them, `batches` hands them to a network.
"""
