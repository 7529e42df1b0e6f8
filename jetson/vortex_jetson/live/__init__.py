"""Frames as they come, and what runs on them."""
