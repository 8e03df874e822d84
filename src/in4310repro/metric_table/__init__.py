"""Table of metrics and their functions; importing it loads no library for computations."""
