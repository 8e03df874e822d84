"""Exports of a finished run in the formats that reviewers, hubs and archives read.

`table.FORMATS` names each format with its module, `formats.export` writes one.
"""
