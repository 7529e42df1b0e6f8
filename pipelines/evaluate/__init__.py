"""Measuring: a student on frames, and a registered version on a dataset."""
