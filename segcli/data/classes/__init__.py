"""Classes: names and colours, how masks on disk store them, their weights in a loss, and how they are painted."""
