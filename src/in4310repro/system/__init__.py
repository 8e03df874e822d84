"""What every room may use of the machine: files, text, locks, processes, progress, hashes and the probe of arithmetic.

It imports nothing here, since `launch` must be read before torch is loaded.
"""
