"""Keys of five earlier pipelines, and their translation into keys of segcli.

A file per pipeline holds its keys, all in one shape (`row.Row`); the page of old keys is written from the same rows.
"""
