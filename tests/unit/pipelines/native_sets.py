"""Tiny sets in the native layouts of SUN RGB-D, DIODE, LILocBench and the Femto Bolt corridor set, written by code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = (48, 64)
K = "58.5 0 31.5 0 58.5 23.5 0 0 1"
SHIFT = (-0.059, 0.0002, 0.0003)
TURN = (0.001, -0.002, 0.001, 0.999997)
PREFIX = "/n/fs/sun3d/data/SUNRGBD/"
FRONT_LENS = (385.0, 386.0, 319.5, 241.0)


def colour(seed: int, size: tuple[int, int] = SIZE) -> NDArray[Any]:
    """Noise."""
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)


def write(path: Path, picture: NDArray[Any]) -> Path:
    """A picture, or numbers, by the suffix of the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, picture)
    else:
        path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())  # imwrite cannot write names that are not text
    return path


def rotated(millimetres: NDArray[Any]) -> NDArray[Any]:
    """Millimetres as SUN RGB-D stores them."""
    values = millimetres.astype(np.uint16)
    return (values << 3) | (values >> 13)


def write_sun_frame(folder: Path, seed: int = 0, millimetres: NDArray[Any] | None = None) -> Path:
    """One frame folder: measured depth with a hole, and the same with the hole painted in."""
    depth = np.full(SIZE, 1000 + seed) if millimetres is None else millimetres
    measured = depth.copy()
    measured[:4, :4] = 0
    write(folder / "image" / f"{folder.name}.jpg", colour(seed))
    write(folder / "depth" / f"{folder.name}.png", rotated(measured if millimetres is None else depth))
    write(folder / "depth_bfx" / f"{folder.name}.png", rotated(depth))
    (folder / "intrinsics.txt").write_text(K)
    (folder / "extrinsics").mkdir()
    return folder


def write_sun(root: Path, count: int = 5, streams: Sequence[str] = ("kv2/align_kv2",)) -> list[str]:
    """`count` frames in each stream; returns the keys of all."""
    keys = [f"{stream}/{number:06d}" for stream in streams for number in range(count)]
    for seed, key in enumerate(keys):
        write_sun_frame(root / key, seed)
    return keys


def write_toolbox(root: Path, keys: Sequence[str], lists: dict[str, Sequence[str]] | None = None) -> list[NDArray[Any]]:
    """The masks of `keys`, in HDF5 by columns behind references, the names in MATLAB 5, and the official lists; returns the ids."""
    import h5py
    from scipy.io import savemat

    (root / "SUNRGBDtoolbox" / "Metadata").mkdir(parents=True)
    masks = [np.random.default_rng(seed).integers(0, 38, SIZE, np.uint8) for seed in range(len(keys))]
    with h5py.File(root / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBD2Dseg.mat", "w") as file:
        group = file.create_group("SUNRGBD2Dseg")
        references = group.create_dataset("seglabel", (len(keys), 1), h5py.ref_dtype)
        for index, mask in enumerate(masks):
            references[index, 0] = file.create_dataset(f"#refs#/{index}", data=mask.T).ref
    names = np.array([(f"{PREFIX}{key}/image/a.jpg", key) for key in keys], [("rgbpath", object), ("sequenceName", object)])
    savemat(root / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBDMeta.mat", {"SUNRGBDMeta": names})
    if lists is not None:
        (root / "SUNRGBDtoolbox" / "traintestSUNRGBD").mkdir()
        cells = {name: np.array([PREFIX + key for key in part], object) for name, part in lists.items()}
        said: dict[str, Any] = {"alltrain": np.concatenate([cells["train"], cells["val"]]), "alltest": cells["test"]}
        said["trainvalsplit"] = {"train": cells["train"], "val": cells["val"]}
        savemat(root / "SUNRGBDtoolbox" / "traintestSUNRGBD" / "allsplit.mat", said)
    return masks


def write_diode_frame(scan: Path, stem: str, seed: int = 0) -> Path:
    """A picture, its depth (H, W, 1) and its mask, whose first row is invalid."""
    depth = np.full((*SIZE, 1), 1.5 + seed / 100, np.float32)
    mask = np.ones(SIZE, np.float64)
    mask[0] = 0
    write(scan / f"{stem}.png", colour(seed))
    write(scan / f"{stem}_depth.npy", depth)
    write(scan / f"{stem}_depth_mask.npy", mask)
    return scan / f"{stem}.png"


def write_diode(root: Path, train: int = 4, val: int = 2) -> None:
    """One scene a split, two scans in the training scene."""
    for number in range(train):
        write_diode_frame(
            root / "train" / "indoors" / "scene_00000" / f"scan_0000{number % 2}", f"00000_00000_indoors_{number:03d}_010", number
        )
    for number in range(val):
        write_diode_frame(root / "val" / "indoors" / "scene_00019" / "scan_00183", f"00019_00183_indoors_{number:03d}_000", 100 + number)


def lens_yaml(size: tuple[int, int] = SIZE, distortion: Sequence[float] = (0.0,) * 5, scale: float = 0.1) -> str:
    """intrinsics.yaml of a D455, scaled to small pictures."""
    fx, fy, cx, cy = (value * scale for value in FRONT_LENS)
    numbers = "\n".join(f"- {value}" for value in (fx, 0, cx, 0, fy, cy, 0, 0, 1))
    bent = "\n".join(f"- {value}" for value in distortion)
    return f"height: {size[0]}\nwidth: {size[1]}\ndistortion_model: plumb_bob\ndistortion_coefficients:\n{bent}\nK:\n{numbers}\n"


def pose_yaml(xyz: Sequence[float] = SHIFT, xyzw: Sequence[float] = TURN, parent: str = "color", child: str = "depth") -> str:
    """extrinsics_depth_to_color.yaml."""
    parts = {"translation": dict(zip("xyz", xyz, strict=True)), "rotation": dict(zip("xyzw", xyzw, strict=True))}
    lines = [f"parent: {parent}", f"child: {child}"]
    for name, values in parts.items():
        lines += [f"{name}:", *(f"  {axis}: {value}" for axis, value in values.items())]
    return "\n".join(lines) + "\n"


def write_lilocbench(root: Path, count: int = 6, late: float = 0.004, size: tuple[int, int] = SIZE) -> Path:
    """One sequence at 15 Hz whose depth comes `late` seconds after its colour; returns the camera's folder."""
    camera = root / "camera_front"
    for index in range(count):
        stamp = 1_690_000_000 + index / 15
        write(camera / "color" / "images" / f"{stamp:.9f}.png", colour(index))
        depth = np.full(size, 1000 + index, np.uint16)
        depth[0, 0], depth[0, 1] = 65535, 0
        write(camera / "depth" / "images" / f"{stamp + late:.9f}.png", depth)
    (camera / "color" / "intrinsics.yaml").write_text(lens_yaml(distortion=(-0.055, 0.066, 0.0001, -0.0005, -0.02)))
    (camera / "depth" / "intrinsics.yaml").write_text(lens_yaml(size))
    (camera / "extrinsics_depth_to_color.yaml").write_text(pose_yaml())
    (root / "transformations.yaml").write_text("- parent: base_link\n  child: camera_front_link\n")
    return camera


def write_femto(root: Path, colours: int = 8, references: int = 6) -> None:
    """`colours` pictures with ToF, of which the first `references` have a teacher's depth."""
    for index in range(colours):
        write(root / "rgb" / f"{index:05d}.png", colour(index))
        tof = np.full(SIZE, 1 + index / 10, np.float32)
        tof[::2] = 0
        write(root / "depth" / f"{index:05d}.npy", tof)
        write(root / "confidence" / f"{index:05d}.npy", np.full(SIZE, 0.9, np.float32))
        if index < references:
            write(root / "da3_depth" / f"{index:05d}.npy", np.full(SIZE, 1.02 + index / 10, np.float32))
    lines = [f'{{"stem": "{index:05d}", "rgb": "rgb/{index:05d}.png", "depth": "depth/{index:05d}.npy"}}\n' for index in range(colours)]
    (root / "manifest.jsonl").write_text("".join(lines))
