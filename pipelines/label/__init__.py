"""`vortex label`: teachers label the frames of a dataset, once, frame by frame, and the result is published in one step."""
