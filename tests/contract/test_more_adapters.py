"""What every adapter promises, asked of the sets that record more than one map, or encode it in their own way."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from tests.contract.adapter_contract import AdapterContract, ComputedContract
from tests.unit.pipelines.native_sets import write_diode, write_femto, write_lilocbench, write_sun


class TestSunRgbd(ComputedContract):
    format = "sun-rgbd"

    def sequence(self, folder: Path, count: int) -> None:
        write_sun(folder, count)


class TestDiode(ComputedContract):
    format = "diode"

    def sequence(self, folder: Path, count: int) -> None:
        write_diode(folder, count - 5, 5)


class TestLilocBench(ComputedContract):
    format = "lilocbench"

    def sequence(self, folder: Path, count: int) -> None:
        write_lilocbench(folder, count)


class TestFemtoBolt(AdapterContract):
    """An evaluation set: only a split that the user states makes training frames of it."""

    format = "femto-bolt"
    options: ClassVar[dict[str, Any]] = {"split": (72, 8, 20)}

    def sequence(self, folder: Path, count: int) -> None:
        write_femto(folder, count + 3, count)
