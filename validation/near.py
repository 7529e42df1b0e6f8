"""Pictures that are almost one: near copies within a split, and training pictures that come back, re-encoded, in val or test.

Two perceptual hashes of 64 bits (`validation.pixels.look`) stand for a picture. Twins differ in at most a few of the 128 bits;
they are found by multi-index hashing (Norouzi et al., CVPR 2012): of four bands of 32 bits, two hashes that differ in at most
three bits share one band exactly, so a million pictures cost four sorts instead of 10^12 comparisons.

What a picture becomes when it is mirrored or turned upside down, as augmentation does, is told from its hashes alone: its cells change their
places, and the differences along the turned axis their sign.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Indices = NDArray[np.intp]

BANDS: Final = 4
"""Bands of the hash, so twins may differ in at most `BANDS` - 1 bits."""
MOST_COMPARED: Final = 64
"""Pictures compared per band and picture. More than that with one band are views of a camera that stands still."""
STILL: Final = 8
"""Bits between neighbours in time below which the camera stands still: twins are then no news, there or anywhere.

Measured: neighbours of the kitchen (every 4th frame at 30 Hz) differ in 13 bits in the median, recompressed copies in at most 3.
"""
DEPTH_RATIO, BRIGHTNESS, CONTRAST = 0.01, 12.0, 0.25
"""What confirms a twin of which the hashes say little: depth medians within 1 %, or grey levels and relative contrast this close."""
TELLING: Final = 32
"""Changes from a bit to its neighbour above which the hashes alone tell a picture from all others, whatever its depth and brightness are.

Measured: kitchen, home, office and synthetic rooms have 54 to 87, and different frames of them differ in 28 bits and more, also mirrored or
turned; a plain wall, one with a gradient of light, a door or a skirting board has none, a vignette 16.
"""


@dataclass(frozen=True)
class Pictures:
    """Everything that twins are judged by, one entry a frame. `depth` is a median in metres, NaN without; `readable` says whose picture was read."""

    across: Hashes
    down: Hashes
    readable: NDArray[np.bool_]
    brightness: NDArray[np.float64]
    contrast: NDArray[np.float64]
    depth: NDArray[np.float64]

    def of(self, frames: Indices) -> Pictures:
        """Those of some frames."""
        return Pictures(*(getattr(self, item.name)[frames] for item in fields(self)))

    def turned(self) -> tuple[Pictures, ...]:
        """The same pictures as they are, mirrored, top to bottom, and turned by 180°.

        Cells as bright as their neighbour have no sign to change, so a turned set is known by some of its frames: of the 250 of the kitchen
        70 % mirrored, 79 % top to bottom and 30 % turned (tests/unit/validation/test_near.py has the other real sets).
        """
        mirrored = replace(self, across=~_columns_reversed(self.across), down=_columns_reversed(self.down))
        return self, mirrored, *(replace(each, across=each.across.byteswap(), down=~each.down.byteswap()) for each in (self, mirrored))


def near_copies(pictures: Pictures, split: NDArray[Any], bits: int) -> Indices:
    """For each frame, an earlier frame of its split that differs in at most `bits` bits, or -1."""
    twins = np.full(len(split), -1, np.intp)
    for name in np.unique(split):
        members = np.flatnonzero((split == name) & pictures.readable)
        twins[members] = _twins(pictures, members, members, bits, earlier=True)
    return twins


def near_leaks(pictures: Pictures, split: NDArray[Any], moving: NDArray[np.bool_], bits: int) -> Indices:
    """For each frame of val and test, a training frame that shows the same, mirrored and turned ones too, or -1.

    Only frames whose camera was `moving` count: the 8 % of a stream that lie between training and validation are no distance for a
    camera that stands still, and its honest frames are twins everywhere.
    """
    twins = np.full(len(split), -1, np.intp)
    usable = pictures.readable & moving
    trained = np.flatnonzero((split == "train") & usable)
    held_out = np.flatnonzero(((split == "val") | (split == "test")) & usable)
    pairs = twins_across(pictures.of(held_out), pictures.of(trained), bits)
    twins[held_out[pairs >= 0]] = trained[pairs[pairs >= 0]]
    return twins


def twins_across(ours: Pictures, theirs: Pictures, bits: int) -> Indices:
    """For each of `ours`, the index of one of `theirs`, pictures of another set, that shows the same (at most `bits` bits apart), or -1.

    A picture that is mirrored, or turned upside down, shows the same.
    """
    parts = (ours, *theirs.turned())
    both = Pictures(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Pictures)))
    first = len(ours.across)
    usable = np.flatnonzero(ours.readable)
    candidates = first + np.flatnonzero(both.readable[first:])
    twins = np.full(first, -1, np.intp)
    pairs = _twins(both, usable, candidates, bits, earlier=False)
    twins[usable] = np.where(pairs >= 0, (pairs - first) % max(len(theirs.across), 1), -1)
    return twins


def in_motion(pictures: Pictures, sequence: NDArray[Any], number: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a frame's picture differs from both of its neighbours in time (by `number` within its `sequence`)."""
    order = np.lexsort((number, sequence))
    bits = _distance(pictures, order[:-1], order[1:])
    still = (bits < STILL) & (sequence[order[:-1]] == sequence[order[1:]])
    moving = np.ones(len(sequence), bool)
    moving[order[:-1][still]] = False
    moving[order[1:][still]] = False
    return moving


def _twins(pictures: Pictures, ours: Indices, theirs: Indices, bits: int, *, earlier: bool) -> Indices:
    """For each of `ours`, the first confirmed twin found among `theirs` (with `earlier`: only of a lower index), or -1."""
    if bits >= BANDS:
        raise ValueError(f"{bits} bits need more than {BANDS} bands: with these, some twins would be missed")
    twins = np.full(len(ours), -1, np.intp)
    if not len(ours) or not len(theirs):
        return twins
    for band in range(BANDS):
        keys = _band(pictures, theirs, band)
        order = np.argsort(keys, kind="stable")
        our_keys = _band(pictures, ours, band)
        first, stop = np.searchsorted(keys[order], our_keys, "left"), np.searchsorted(keys[order], our_keys, "right")
        for step in range(MOST_COMPARED):
            open_ = np.flatnonzero((twins < 0) & (first + step < stop))
            if not len(open_):
                break
            frames, candidates = ours[open_], theirs[order[first[open_] + step]]
            good = (_distance(pictures, frames, candidates) <= bits) & _confirmed(pictures, frames, candidates, by_depth=not earlier)
            good &= candidates < frames if earlier else candidates != frames
            twins[open_[good]] = candidates[good]
    return twins


def _band(pictures: Pictures, members: Indices, band: int) -> NDArray[np.uint64]:
    half = (pictures.across, pictures.down)[band // 2][members]
    return (half >> np.uint64(32)) if band % 2 else (half & np.uint64(0xFFFFFFFF))


def _distance(pictures: Pictures, ours: Indices, theirs: Indices) -> NDArray[np.int64]:
    across = np.bitwise_count(pictures.across[ours] ^ pictures.across[theirs])
    down = np.bitwise_count(pictures.down[ours] ^ pictures.down[theirs])
    bits: NDArray[np.int64] = across.astype(np.int64) + down
    return bits


def _confirmed(pictures: Pictures, ours: Indices, theirs: Indices, *, by_depth: bool) -> NDArray[np.bool_]:
    """Blank walls have few bits to say, so what else was measured must agree as well.

    `by_depth`: where both have depth, it decides. A stream of pictures that hangs goes on with new depth, so of copies either will do.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(np.log(pictures.depth[ours] / pictures.depth[theirs]))
        near = ratio <= DEPTH_RATIO
        alike = np.abs(pictures.brightness[ours] - pictures.brightness[theirs]) <= BRIGHTNESS
        alike &= np.abs(pictures.contrast[ours] - pictures.contrast[theirs]) <= CONTRAST * np.maximum(pictures.contrast[ours], 1)
    measured: NDArray[np.bool_] = np.where(np.isnan(ratio), alike, near) if by_depth else near | alike
    return measured | (_detail(pictures.across[ours]) + _detail(pictures.down[ours]) >= TELLING)


def _detail(hashes: Hashes) -> NDArray[np.int64]:
    """How often a bit differs from that of the next column, and of the next row (a byte is a row)."""
    columns = (hashes ^ (hashes >> np.uint64(1))) & np.uint64(0x7F7F7F7F7F7F7F7F)
    rows = (hashes ^ (hashes >> np.uint64(8))) & np.uint64(0x00FFFFFFFFFFFFFF)
    changes: NDArray[np.int64] = np.bitwise_count(columns).astype(np.int64) + np.bitwise_count(rows)
    return changes


def _columns_reversed(hashes: Hashes) -> Hashes:
    """The bits of each byte, which is a row, in reverse."""
    for step, mask in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F)):
        shift, low = np.uint64(step), np.uint64(mask)
        hashes = ((hashes & low) << shift) | ((hashes >> shift) & low)
    return hashes
