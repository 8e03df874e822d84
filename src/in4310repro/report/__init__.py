"""The report of a run: its numbers, drawn and written beside those of the published report ("the original").

`page` writes the page of a run, `exhibits` its figures and tables.
"""
