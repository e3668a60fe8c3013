"""Engine that runs networks: `training/`, `inference/`, `export/`, and the modules that they share."""
