"""Verification of a run: values recomputed from its weights, images, seed and split, and compared with its files.

`verify` recomputes, `replay` trains epochs again, `compare` compares two runs, `tampering` falsifies a copy of a run.
"""
