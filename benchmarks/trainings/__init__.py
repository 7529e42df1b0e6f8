"""Small trainings for the benchmarks that disturb them: what they train, and how they are judged in the end."""
