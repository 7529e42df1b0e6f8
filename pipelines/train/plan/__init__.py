"""What a training will do, decided before anything starts. Needs no torch."""
