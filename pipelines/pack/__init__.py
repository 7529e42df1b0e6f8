"""Packs: a dataset's frames at one size in memory-mapped arrays, built once and read by training and evaluation alike."""
