"""Export: files in other formats, written with a description of the run, compared with the original, and read again."""
