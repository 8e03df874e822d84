"""Benchmarks: cost and error of feature statistics, ours and other tools', and the cost of portable arithmetic."""
