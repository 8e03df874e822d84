"""Images: drawn scenes, image folders, splits, decoding, batches, comparison sets, and the folder check.

`folders` lists and hashes them, `splits` divides them, `images` decodes them, `batches` hands them to a network.
"""
