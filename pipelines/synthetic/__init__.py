"""Procedural worlds: the data that Vortex brings along, so that everything runs before the first real frame is there."""
