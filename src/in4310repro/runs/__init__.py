"""The run folder: names of its files, their records, its writer, and a finished run as one frozen object."""
