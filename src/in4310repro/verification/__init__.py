"""Verification of a run: values recomputed from weights, images, seed and split, and compared with its files.

`verify` recomputes, `replay` trains epochs again, `compare` compares two runs, `tampering` falsifies a copy.
"""
