#!/bin/bash

# Parameters
#SBATCH --error={workspace}/build/runs/tiny-rooms-20261128-121923-db13/slurm/%j_0_log.err
#SBATCH --job-name=tiny-rooms-20261128-121923-db13
#SBATCH --no-requeue
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output={workspace}/build/runs/tiny-rooms-20261128-121923-db13/slurm/%j_0_log.out
#SBATCH --partition=short
#SBATCH --signal=B:USR2@180
#SBATCH --time=30

# setup
export SUBMITIT_LOG_LEVEL=WARNING

# command
export SUBMITIT_EXECUTOR=slurm
exec /opt/vortex/.venv/bin/python -u -m submitit.core._submit {workspace}/build/runs/tiny-rooms-20261128-121923-db13/slurm
