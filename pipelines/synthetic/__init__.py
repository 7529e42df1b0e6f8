"""Procedural worlds: the data that Vortex brings along, so that everything runs before the first real frame is there."""

from pipelines.synthetic.dataset import FEWEST, SIZE, Job, render_dataset, synthesise
from pipelines.synthetic.worlds import WORLDS, World

__all__ = ["FEWEST", "SIZE", "WORLDS", "Job", "World", "render_dataset", "synthesise"]
