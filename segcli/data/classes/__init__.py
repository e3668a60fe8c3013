"""Classes: their names and colours, how masks on disk hold them, what each weighs in a loss, how they are painted."""
