"""The faulty sets: each is an honest one with one fault, and the name of the check that has to catch it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.corpus.manifests import MANIFEST, Fault
from benchmarks.corpus.sets import SIZE, Array, Delivery


def truncate(set_: Delivery, role: str) -> None:
    """Cut the end off a file."""
    path = set_.path(5, role)
    path.write_bytes(path.read_bytes()[:-150])


def flip(set_: Delivery, role: str) -> None:
    """Turn one bit in the middle of a file."""
    path = set_.path(5, role)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def bomb(set_: Delivery) -> None:
    """A PNG of a few bytes whose header claims 60,000 × 60,000 pixels of 16 bits: 7.2 GB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 16, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    set_.path(5, "depth").write_bytes(content)


def link_out(set_: Delivery) -> None:
    """Put a link to a file outside the set where the depth was."""
    path = set_.path(5, "depth")
    path.rename(set_.root.parent / "elsewhere.png")
    path.symlink_to(set_.root.parent / "elsewhere.png")


FILES = [
    Fault("a file that is not there", "files-present", lambda set_: set_.path(5, "depth").unlink()),
    Fault("a picture that is not there", "files-present", lambda set_: set_.path(5, "rgb").unlink()),
    Fault("a truncated PNG", "files-readable", lambda set_: truncate(set_, "depth")),
    Fault("a truncated JPEG", "files-readable", lambda set_: truncate(set_, "rgb")),
    Fault("one flipped bit in a PNG", "files-readable", lambda set_: flip(set_, "segmentation")),
    Fault("a decompression bomb", "files-readable", bomb, says="60000"),
    Fault("depth of 8 bits", "files-readable", lambda set_: set_.each("depth", lambda depth: (depth // 40).astype(np.uint8), [5])),
    Fault("depth as JPEG", "files-readable", lambda set_: set_.write(5, "depth", (set_.read(5, "depth") // 40).astype(np.uint8), ".jpg")),
    Fault("depth as a coloured picture", "files-readable", lambda set_: set_.write(5, "depth", set_.read(5, "rgb"), ".png")),
    Fault("confidence beyond 1", "files-readable", lambda set_: set_.write(5, "tof_confidence", np.full(SIZE, 7, np.float32), ".npy")),
    Fault("a link that leads out", "files-readable", link_out, says="link"),
    Fault("a text file as picture", "files-readable", lambda set_: set_.path(5, "rgb").write_text("see attachment")),
]


def zoomed(set_: Delivery, factor: float) -> None:
    """The camera of a picture `factor` as large, declared for this one."""
    camera = set_.rows[0].intrinsics
    assert camera is not None
    set_.change(intrinsics=replace(camera, fx=camera.fx * factor, fy=camera.fy * factor, cx=camera.cx * factor, cy=camera.cy * factor))


def other_lens(set_: Delivery, places: list[int] | None, factor: float) -> None:
    """Multiply the focal lengths of the frames at these places."""
    camera = set_.rows[0].intrinsics
    assert camera is not None
    set_.change(places, intrinsics=replace(camera, fx=camera.fx * factor, fy=camera.fy * factor))


def declared_size(set_: Delivery) -> None:
    """Intrinsics that are right, of a picture of 480×640."""
    camera = set_.rows[0].intrinsics
    assert camera is not None
    set_.change(intrinsics=camera.scaled((480, 640)))


GEOMETRY = [
    Fault("a mask of another size", "sizes-agree", lambda set_: set_.each("segmentation", lambda mask: mask[::2, ::2], [5])),
    Fault("swapped axes", "sizes-agree", lambda set_: set_.each("depth", lambda depth: np.ascontiguousarray(depth.T))),
    Fault("intrinsics that say another resolution", "intrinsics-plausible", declared_size, says="480x640"),
    Fault("intrinsics of twice the resolution", "intrinsics-plausible", lambda set_: zoomed(set_, 2)),
    Fault("intrinsics of half the resolution", "intrinsics-plausible", lambda set_: zoomed(set_, 0.5)),
    Fault("a second lens under one camera's name", "intrinsics-agree", lambda set_: other_lens(set_, [3, 4, 5], 1.2)),
    Fault("depth mirrored", "tof-rank", lambda set_: set_.each("depth", lambda depth: np.ascontiguousarray(depth[::-1]))),
]


def each_tof_as_depth(set_: Delivery) -> None:
    """Swap the two roles in every row."""
    for place, row in enumerate(set_.rows):
        set_.change([place], depth=row.tof, tof=row.depth, tof_confidence=None)


def swapped_bytes(depth: Array) -> Array:
    """Little endian read as big endian."""
    return depth.byteswap()


def mixed_memory(depth: Array) -> Array:
    """Written column by column, read row by row."""
    return np.ascontiguousarray(depth.T).reshape(depth.shape)


def inverted(depth: Array) -> Array:
    """Inverse depth, scaled to look like metres."""
    return (60 / np.maximum(depth, 0.1)).astype(np.float32)


def normalised(depth: Array) -> Array:
    """What a relative network gives: near is 1, far is 0."""
    inverse = 1 / np.maximum(depth, 0.1)
    return ((inverse - inverse.min()) / (inverse.max() - inverse.min())).astype(np.float32)


def with_pixels(value: float) -> Callable[[Array], Array]:
    """A change that sets ten by two pixels to `value`."""

    def change(depth: Array) -> Array:
        depth = depth.copy()
        depth[10:12, 10:20] = value
        return depth

    return change


def sun_raw(depth: Array) -> Array:
    """SUN RGB-D as stored: rotated left by three bits."""
    return ((depth << 3) | (depth >> 13)).astype(np.uint16)


def aside(columns: int, rows: int = 0) -> Callable[[Array], Array]:
    """A change that moves depth, as it lies where nobody registered it; nothing was measured where it comes from."""

    def change(depth: Array) -> Array:
        moved = np.zeros_like(depth)
        height, width = depth.shape
        moved[max(0, rows) : height + min(0, rows), max(0, columns) : width + min(0, columns)] = depth[
            max(0, -rows) : height - max(0, rows), max(0, -columns) : width - max(0, columns)
        ]
        return moved

    return change


def wider(depth: Array) -> Array:
    """What a lens of three quarters of the focal length sees, as far as the picture's own reaches."""
    rows, columns = (np.rint((np.arange(side) - (side - 1) / 2) / 0.75 + (side - 1) / 2).astype(int) for side in depth.shape)
    inside = ((rows >= 0) & (rows < depth.shape[0]))[:, None] & ((columns >= 0) & (columns < depth.shape[1]))
    return np.where(inside, depth[np.ix_(rows.clip(0, depth.shape[0] - 1), columns.clip(0, depth.shape[1] - 1))], 0)


DEPTH = [
    # At 96 columns; 7 of them are 45 of 640, as raw frames of a D435 are off.
    Fault("depth 7 columns to the right", "depth-registered", lambda set_: set_.each("depth", aside(7)), says="right of"),
    Fault("depth 3 rows too high", "depth-registered", lambda set_: set_.each("depth", aside(0, -3)), says="above"),
    Fault("depth of a lens of three quarters", "depth-registered", lambda set_: set_.each("depth", wider), says="times as large"),
    Fault("relative depth, declared so", "units-metric", lambda set_: set_.change(teacher_unit="relative")),
    Fault("relative depth as metres", "teacher-rank", lambda set_: set_.each("teacher_depth", normalised)),
    Fault("a teacher of inverse depth", "teacher-rank", lambda set_: set_.each("teacher_depth", inverted)),
    Fault("a teacher that says one number", "teacher-rank", lambda set_: set_.each("teacher_depth", lambda depth: np.full_like(depth, 2))),
    Fault("millimetres as metres", "depth-median", lambda set_: set_.metres("depth", lambda depth: depth * 1000)),
    Fault("metres as millimetres", "depth-median", lambda set_: set_.each("depth", lambda depth: depth // 1000)),
    Fault("a teacher in millimetres", "teacher-to-sensor", lambda set_: set_.each("teacher_depth", lambda depth: depth * 1000)),
    Fault("a teacher of half scale", "teacher-to-sensor", lambda set_: set_.each("teacher_depth", lambda depth: depth * 0.5)),
    Fault("a teacher of double scale", "teacher-to-sensor", lambda set_: set_.each("teacher_depth", lambda depth: depth * 2)),
    Fault("a ToF camera of half scale", "tof-to-depth", lambda set_: set_.each("tof", lambda depth: depth // 2)),
    Fault("TUM's 1/5000 m read as millimetres", "tof-to-depth", lambda set_: set_.each("depth", lambda depth: depth * 5)),
    Fault("NaN in a teacher's map", "teacher-finite", lambda set_: set_.each("teacher_depth", with_pixels(np.nan), [5])),
    Fault("infinite depth", "depth-finite", lambda set_: set_.metres("depth", with_pixels(np.inf))),
    Fault("negative depth", "tof-finite", lambda set_: set_.metres("tof", with_pixels(-1))),
    Fault("a ToF camera that is off", "tof-valid", lambda set_: set_.each("tof", np.zeros_like)),
    Fault("an empty reference", "depth-valid", lambda set_: set_.each("depth", np.zeros_like, [5])),
    Fault("bytes in the wrong order", "depth-rough", lambda set_: set_.each("depth", swapped_bytes)),
    Fault("rows and columns mixed up in memory", "depth-rough", lambda set_: set_.each("depth", mixed_memory)),
    Fault("a teacher of noise", "teacher-rough", lambda set_: set_.each("teacher_depth", lambda depth: np.random.default_rng(0).uniform(1, 4, depth.shape).astype(np.float32))),
    Fault("SUN RGB-D without its rotation", "tof-to-depth", lambda set_: set_.each("depth", sun_raw)),
    Fault("SUN RGB-D with >> 3 alone", "depth-near", lambda set_: set_.each("depth", lambda depth: sun_raw(depth) >> 3), "corridor"),
    Fault("ToF and reference swapped", "depth-roles", each_tof_as_depth),
]  # fmt: skip


def swap_classes(one: int, other: int) -> Callable[[Array], Array]:
    """A change that swaps two class ids."""

    def change(mask: Array) -> Array:
        return np.where(mask == one, other, np.where(mask == other, one, mask)).astype(np.uint8)

    return change


def mostly_blank(set_: Delivery) -> None:
    """Labels in the first frame alone, declared partial."""
    set_.each("segmentation", lambda mask: np.full_like(mask, 255), range(1, len(set_.rows)))
    set_.change(supervision="partial")


LABELS = [
    Fault("labels promised and none there", "labels-as-declared", lambda set_: set_.each("segmentation", lambda mask: np.full_like(mask, 255))),
    Fault("one labelled frame in 24", "labels-blank", mostly_blank),
    Fault("class ids out of range", "label-ids", lambda set_: set_.each("segmentation", lambda mask: mask + 30)),
    Fault("a map of 13 classes", "label-ids", lambda set_: set_.each("segmentation", lambda mask: np.where(mask == 5, 12, mask * 2).astype(np.uint8))),
    Fault("void as 0, classes from 1", "label-ids", lambda set_: set_.each("segmentation", lambda mask: mask + 1)),
    Fault("one class alone", "class-shares", lambda set_: set_.each("segmentation", np.zeros_like)),
    Fault("walls labelled as people", "class-shares", lambda set_: set_.each("segmentation", lambda mask: np.where(mask == 1, 3, mask).astype(np.uint8))),
    Fault("floor and wall swapped", "class-places", lambda set_: set_.each("segmentation", swap_classes(0, 1))),
]  # fmt: skip


def again(set_: Delivery, split: str, quality: int | None) -> None:
    """Frame 2 of the training split once more in `split`: the same bytes, or re-encoded and resized by a hair."""
    import cv2

    source, target = set_.splits("train")[2], set_.splits(split)[-1]
    for role in ("depth", "tof", "tof_confidence", "teacher_depth", "segmentation"):
        set_.write(target, role, set_.read(source, role))
    picture = set_.read(source, "rgb")
    if quality is None:
        set_.path(target, "rgb").write_bytes(set_.path(source, "rgb").read_bytes())
    else:
        set_.write(target, "rgb", cv2.convertScaleAbs(picture, alpha=1.02, beta=1), ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality)


def stuck(set_: Delivery) -> None:
    """A driver that hangs: every picture of a split repeats its first with fresh noise, whatever the sequence is called."""
    noise = np.random.default_rng(0)
    for place, row in enumerate(set_.rows):
        first = next(index for index, other in enumerate(set_.rows) if other.split == row.split)
        picture = set_.read(first, "rgb").astype(int) + noise.integers(-2, 3, (*SIZE, 3))
        set_.write(place, "rgb", np.clip(picture, 0, 255).astype(np.uint8), ".png")


def unread_sequence(set_: Delivery) -> None:
    """Every frame of a sequence in the gap."""
    set_.change([place for place, row in enumerate(set_.rows) if row.sequence == "s1"], split="gap")


def scattered(set_: Delivery) -> None:
    """A random split: every fourth frame is for validation."""
    set_.change(split="train")
    set_.change(range(1, len(set_.rows), 4), split="val")


SPLITS = [
    Fault("one picture twice", "no-copies", lambda set_: again(set_, "train", None)),
    Fault("a training picture in val", "no-leaks", lambda set_: again(set_, "val", None)),
    Fault("a training picture in val, re-encoded", "near-leaks", lambda set_: again(set_, "val", 60)),
    Fault("a stream that hangs", "near-duplicates", stuck),
    Fault("a random split of a stream", "splits-apart", scattered),
    Fault("no validation frames", "splits-present", lambda set_: set_.change(set_.splits("val"), split="gap")),
    Fault("a sequence that gives nothing", "sequences-used", unread_sequence),
]


def blurred(radius: float) -> Callable[[Array], Array]:
    """A change that blurs by a Gaussian of this radius."""

    def change(picture: Array) -> Array:
        import cv2

        return np.asarray(cv2.GaussianBlur(picture, (0, 0), radius))

    return change


def elsewhere(set_: Delivery) -> None:
    """Everything at half scale, ToF and teacher too: only a reference can know."""
    set_.each("depth", lambda depth: depth // 2)
    set_.each("tof", lambda depth: depth // 2)
    set_.each("teacher_depth", lambda depth: depth * 0.5)


PICTURES = [
    Fault("a black picture", "exposure", lambda set_: set_.each("rgb", np.zeros_like, [5])),
    Fault("a saturated picture", "exposure", lambda set_: set_.each("rgb", lambda picture: np.full_like(picture, 255), [5])),
    Fault("a dark building", "exposure", lambda set_: set_.each("rgb", lambda picture: picture // 12)),
    Fault("a smeared lens", "sharpness", lambda set_: set_.each("rgb", blurred(5))),
]
DRIFT = [
    Fault("a blurred delivery", "drift-blur", lambda set_: set_.each("rgb", blurred(1.5))),
    Fault("a darker delivery", "drift-brightness", lambda set_: set_.each("rgb", lambda picture: (picture * 0.6).astype(np.uint8))),
    Fault("another camera", "drift-intrinsics", lambda set_: other_lens(set_, None, 1.15)),
    Fault("another scale throughout", "drift-depth", elsewhere),
    Fault("walls and furniture labelled as other", "drift-classes", lambda set_: set_.each("segmentation", lambda mask: np.where((mask == 1) | (mask == 4), 5, mask).astype(np.uint8))),
]  # fmt: skip
"""Judged against the honest set as the reference of its domain."""

FAULTS = [*MANIFEST, *FILES, *GEOMETRY, *DEPTH, *LABELS, *SPLITS, *PICTURES, *DRIFT]
