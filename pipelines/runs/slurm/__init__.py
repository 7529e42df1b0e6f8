"""Trainings as SLURM jobs: submitted through submitit, stopped before the wall, requeued, and asked after."""
