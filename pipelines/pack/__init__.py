"""Packs: a dataset's frames at one size in memory-mapped arrays, built once and read by training and evaluation alike."""

from pipelines.pack.layout import PackError
from pipelines.pack.preparing import Prepared, pack, packs_folder, prepare
from pipelines.pack.reading import Pack, Selection

__all__ = ["Pack", "PackError", "Prepared", "Selection", "pack", "packs_folder", "prepare"]
