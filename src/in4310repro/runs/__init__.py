"""The run folder: names and records of its files, its writer, and a finished run as one immutable object."""
