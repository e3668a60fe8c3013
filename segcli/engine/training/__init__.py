"""Training: trainer, step, session and snapshots, and what watches them; no other part of the engine imports it."""
