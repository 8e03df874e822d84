"""The report: numbers from a run folder, drawn and written beside those of the original."""
