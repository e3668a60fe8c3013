"""Basic modules that every part may use; they import no other room."""
