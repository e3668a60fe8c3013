"""What runs a network: `training/`, `inference/` and `export/`, and here the parts that they share."""
