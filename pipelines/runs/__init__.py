"""What runs leave on disk, and who may go on with them: folder, events, state, stop, wall, orders, and the jobs of SLURM."""
