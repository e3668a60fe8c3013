"""Run each command, as plain functions that print nothing."""
