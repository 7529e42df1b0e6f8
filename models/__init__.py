"""The student network, its losses, metrics and checkpoints. Torch only: no files of the workspace, no registry."""
