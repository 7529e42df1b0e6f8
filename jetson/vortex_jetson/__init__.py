"""What runs on the robot: no torch, no mlflow, nothing of the workspace."""
