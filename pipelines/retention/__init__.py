"""What of the disk is needed, by what, and what can go."""
