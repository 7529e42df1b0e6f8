"""Training: a plan that says everything before it starts, a loop that can be stopped at any moment, a version at the end."""
