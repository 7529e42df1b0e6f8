"""Each Python that finds this folder in PYTHONPATH is a machine with the stand-in for CUDA."""

import ctypes

import cuda

ctypes.CDLL = cuda.load
