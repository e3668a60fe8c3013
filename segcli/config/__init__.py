"""Define the shape of a run, and turn YAML into a checked run."""
