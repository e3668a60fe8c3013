"""Length of a training by the clock: what its parts take here, and the epochs that fit into the minutes."""
