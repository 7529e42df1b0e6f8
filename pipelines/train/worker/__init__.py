"""What every training process does: the loop, its step, its checkpoints. Imports torch."""
