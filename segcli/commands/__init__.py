"""What each verb does, as plain functions that print nothing."""
