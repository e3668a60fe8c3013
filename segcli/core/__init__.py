"""What every part may use; imports nothing above it."""
