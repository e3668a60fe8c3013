"""The shape of a run, and the way from YAML to a checked run."""
