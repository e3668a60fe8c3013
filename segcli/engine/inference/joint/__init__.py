"""Images that share a call of the network."""
