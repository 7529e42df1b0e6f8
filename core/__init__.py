"""What every package may use: errors for people, files that are never half-written, and the six classes."""
