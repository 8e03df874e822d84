"""Access to the machine for all subpackages: files, text, locks, processes, progress, hashes, arithmetic mode.

It imports no other room, since `launch` must be read before torch is loaded.
"""
