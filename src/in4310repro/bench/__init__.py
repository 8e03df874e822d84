"""Benchmarks: feature statistics with their errors, ours and other tools'; portable arithmetic; several processes."""
