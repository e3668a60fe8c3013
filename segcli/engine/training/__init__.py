"""Training: trainer, step, session, snapshots and monitoring; no other part of the engine imports this package."""
