"""Export: write networks to other file formats with a description of the run, verify them, and read them again."""
