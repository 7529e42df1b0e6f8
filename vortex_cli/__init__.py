"""What a person types: parse, call one function of `pipelines/` or `registry/`, print."""

import sys
from pathlib import Path

# Whoever calls `vortex` may have folders called `core` or `models`, and a PYTHONPATH that leads to them before it leads here.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
