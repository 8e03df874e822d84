"""Benchmarks of feature statistics beside other tools, of portable arithmetic, and of training by several processes."""
