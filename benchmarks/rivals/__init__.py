"""What Vortex is measured against, each in its documented way of reading the same samples.

Importing it keeps the numeric libraries to one thread: it comes before numpy, as the benchmarks measure one core.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
