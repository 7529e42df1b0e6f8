"""Recipes: their schema, how they are read, and the shipped v1 to v9."""
