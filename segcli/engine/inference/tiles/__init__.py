"""Tiles of an image that is larger than the network may see at once."""
