"""Planes in a depth picture: local plane fits, the direction of gravity, and the floor, ceiling and walls that agree with it.

Everything is done in inverse depth. A plane n·P = 1 seen along the ray r = (x, y, 1) has 1/z = n·r: linear in the picture, so that plane
fits are linear least squares; and the error of 1/z of a stereo or time-of-flight camera hardly depends on distance, so that the fits are
also well weighted. Normals point away from the camera here: the floor's is gravity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.pinhole import Pinhole

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]

NEAREST: Final = 0.1
FARTHEST: Final = 20.0
"""Metres between which a depth is believed."""
SAMPLES: Final = 4000
"""Local fits that vote for gravity and walls; more changed no figure."""
BEYOND: Final = 0.002
"""Share of the picture that must lie below a level surface to prove that it is not the floor."""
ALIGNED: Final = np.cos(np.radians(12.0))
ACROSS: Final = np.sin(np.radians(12.0))


@dataclass(frozen=True)
class Points:
    """A depth picture as points: `ray_x` (1, W) and `ray_y` (H, 1), and (H, W) `depth` (0 invalid), `inverse` (1/m, 0 invalid), `valid`."""

    ray_x: Floats
    ray_y: Floats
    depth: Floats
    inverse: Floats
    valid: Bools

    def along(self, direction: Doubles) -> Floats:
        """Component of every pixel's ray along a direction: times the depth in metres, this is the point's coordinate."""
        x, y, z = (np.float32(value) for value in direction)
        return np.asarray(x * self.ray_x + (y * self.ray_y + z), np.float32)

    def thinned(self, step: int) -> Points:
        """Every `step`-th pixel."""
        every = slice(None, None, step)
        return Points(
            self.ray_x[:, every], self.ray_y[every], self.depth[every, every], self.inverse[every, every], self.valid[every, every]
        )


@dataclass(frozen=True)
class Cloud(Points):
    """Points with local plane fits: `normal` (3, H, W) unit, `planar` where the fit is good.

    `noise` is the error of `inverse` (1/m) that good fits leave: the sensor's, as seen in this picture.
    """

    normal: Floats
    planar: Bools
    noise: float

    def facing(self, direction: Doubles) -> Floats:
        """Cosine between every normal and a direction."""
        return np.asarray(np.tensordot(direction.astype(np.float32), self.normal, 1), np.float32)


def points(depth: NDArray[np.floating], camera: Pinhole) -> Points:
    """The points of a depth picture; what is not a finite number between NEAREST and FARTHEST is invalid."""
    height, width = camera.size
    x = ((np.arange(width) - camera.cx) / camera.fx).astype(np.float32)[None, :]
    y = ((np.arange(height) - camera.cy) / camera.fy).astype(np.float32)[:, None]
    with np.errstate(invalid="ignore"):
        valid = (depth > NEAREST) & (depth < FARTHEST)
    depth = np.where(valid, depth, 0).astype(np.float32)
    return Points(x, y, depth, np.divide(1, depth, out=np.zeros_like(depth), where=valid), valid)


def observe(seen: Points, window: int, step: int) -> Cloud:
    """Fit a plane to the `window` × `window` pixels around every `step`-th pixel: least squares over box sums, holes left out."""
    import cv2

    x, y, weight = seen.ray_x.astype(np.float64), seen.ray_y.astype(np.float64), seen.valid.astype(np.float64)
    wi = seen.inverse.astype(np.float64)

    def mean(values: Doubles) -> Doubles:
        # Doubles, because variances are small differences of large sums.
        blurred = cv2.boxFilter(values, -1, (window, window), borderType=cv2.BORDER_CONSTANT).reshape(values.shape)
        return np.asarray(blurred[::step, ::step])

    share = mean(weight)
    inside = 1 / np.maximum(share, 1e-9)
    wx, wy = weight * x, weight * y
    mx, my, mi = mean(wx) * inside, mean(wy) * inside, mean(wi) * inside
    xx, yy, xy = mean(wx * x) * inside - mx * mx, mean(wy * y) * inside - my * my, mean(wx * y) * inside - mx * my
    xi, yi, ii = mean(wi * x) * inside - mx * mi, mean(wi * y) * inside - my * mi, mean(wi * wi) * inside - mi * mi
    determinant = xx * yy - xy * xy
    # A window must hold enough pixels, spread in both directions, for its plane to mean anything.
    pitch_x = float(x[0, 1] - x[0, 0]) if x.size > 1 else 1.0
    pitch_y = float(y[1, 0] - y[0, 0]) if y.size > 1 else 1.0
    good = (share > 0.15) & (determinant > (window * window / 40.0 * pitch_x * pitch_y) ** 2)
    safe = np.where(good, determinant, 1.0)
    a, b = (yy * xi - xy * yi) / safe, (xx * yi - xy * xi) / safe
    residual = np.sqrt(np.maximum(ii - a * xi - b * yi, 0))
    c = mi - a * mx - b * my
    length = np.sqrt(a * a + b * b + c * c)
    good &= length > 1e-6
    normal = (np.stack([a, b, c]) / np.maximum(length, 1e-6)).astype(np.float32)
    thin = seen.thinned(step)
    quiet = residual[good & thin.valid]
    noise = float(np.quantile(quiet, 0.35)) if quiet.size else 0.0
    planar = good & (residual < 3 * noise + 0.004)
    return Cloud(thin.ray_x, thin.ray_y, thin.depth, thin.inverse, thin.valid, normal, planar, noise)


def find_down(cloud: Cloud, prior: Doubles, tolerance: float) -> tuple[Doubles, float]:
    """The unit vector of gravity within `tolerance` radians of `prior`, and how well the surfaces agree with it in [0, 1].

    Floors and ceilings are square to gravity and walls are along it. Candidates are the normals near the prior and the cross products of
    normals (two walls meet in a vertical edge); the best one is refined as Gupta, Arbeláez and Malik 2013 (section 3.1) do, by the smallest
    eigenvector of the walls' scatter less the floors'. Without any agreeing surface, the prior itself is returned with 0.
    """
    normals = sample(cloud, cloud.planar & cloud.valid, SAMPLES // 4)
    if len(normals) < 20:
        return prior, 0.0
    few = normals[:: max(len(normals) // 40, 1)]
    crossed = np.cross(few[:, None], few[None, :]).reshape(-1, 3)
    long = np.linalg.norm(crossed, axis=1)
    candidates = np.concatenate([prior[None], normals[:: max(len(normals) // 200, 1)], crossed[long > 0.7] / long[long > 0.7, None]])
    candidates *= np.sign(candidates @ prior)[:, None] + (candidates @ prior == 0)[:, None]
    candidates = candidates[candidates @ prior >= np.cos(tolerance) - 1e-9]
    cosine = np.abs(candidates.astype(np.float32) @ normals.T.astype(np.float32))
    score = (cosine > ALIGNED).mean(1) + (cosine < ACROSS).mean(1)
    # Between equals, the more upright camera: 0.1 of the surfaces buys 20 degrees.
    score = score - 0.3 * np.arccos(np.clip(candidates @ prior, -1, 1))
    down = candidates[int(score.argmax())]
    for width in (12.0, 8.0, 6.0):
        level = normals[np.abs(normals @ down) > np.cos(np.radians(width))]
        upright = normals[np.abs(normals @ down) < np.sin(np.radians(width))]
        if len(level) + len(upright) < 20:
            break
        # The last term keeps what the surfaces leave open: how the camera is rolled before a single wall.
        scatter = upright.T @ upright - level.T @ level - 0.01 * len(normals) * np.outer(down, down)
        vector = np.linalg.eigh(scatter)[1][:, 0]
        vector = vector * (1 if vector @ down > 0 else -1)
        if vector @ down < np.cos(np.radians(15)) or vector @ prior < np.cos(tolerance + np.radians(3)):
            break
        down = vector
    cosine = np.abs(normals @ down)
    return down, float((cosine > ALIGNED).mean() + (cosine < ACROSS).mean())


def sample(cloud: Cloud, where: Bools, most: int) -> Doubles:
    """At most `most` of the normals at `where`, evenly over the picture, (N, 3)."""
    index = np.flatnonzero(where)
    index = index[:: max(len(index) // most, 1)]
    return cloud.normal.reshape(3, -1)[:, index].T.astype(np.float64)


def level_plane(cloud: Cloud, down: Doubles, heights: tuple[float, float], least: float, sign: int = 1) -> tuple[Doubles, float] | None:
    """The floor (`sign` 1) or ceiling (-1): unit normal pointing away from the camera, and its distance; None where there is none.

    It is the outermost mode of the distances along `sign`·`down` of level surfaces that face the camera, with `heights` (metres) bounding
    it and at least `least` of the picture in it; refined by least squares with two rounds of inliers.
    """
    away = sign * down
    reach = cloud.along(away)
    facing = cloud.facing(away)
    level = cloud.valid & cloud.planar & (facing > np.cos(np.radians(20.0)))
    distance = reach[level] * cloud.depth[level]
    step = 0.02
    edges = np.arange(heights[0], heights[1] + step, step)
    votes = np.histogram(distance, edges)[0].astype(np.float64)
    smooth = np.convolve(votes, [0.25, 0.75, 1, 1, 1, 0.75, 0.25], "same")
    enough = smooth >= max(least * cloud.valid.size, 12, 0.08 * smooth.max(initial=0))
    if not enough.any():
        return None
    height = float(edges[_outermost(smooth, enough)] + step / 2)
    for _ in range(3):
        # Something lies farther out than the outermost level surface with good normals: a sliver of floor, or a table was taken for it.
        beyond = cloud.valid & (reach > (height + 0.15) * cloud.inverse)
        if beyond.sum() <= max(BEYOND * cloud.valid.size, 4):
            break
        distance = reach[beyond] * cloud.depth[beyond]
        votes = np.convolve(np.histogram(distance, edges)[0], np.ones(5), "same")
        enough = votes > max(0.2 * len(distance), 4)
        if not enough.any():
            return None
        height = float(edges[_outermost(votes, enough)] + step / 2)
        level = beyond
    plane = away / height
    for width in (0.08, 0.05):
        expected = cloud.along(plane)
        near = level & (np.abs(expected - cloud.inverse) * height < width * np.maximum(expected, 1e-3) + 3 * cloud.noise * height)
        fitted = fit(cloud, near)
        if fitted is None or near.sum() < 0.01 * near.size or fitted @ away < np.cos(np.radians(3.0)) * np.linalg.norm(fitted):
            break
        plane = fitted
    size = float(np.linalg.norm(plane))
    return plane / size, 1 / size


def _outermost(votes: Doubles, enough: Bools) -> int:
    """The peak of the last mode of a histogram."""
    last = int(np.flatnonzero(enough)[-1])
    first = max(last - 8, 0)
    return first + int(votes[first : last + 1].argmax())


def fit(cloud: Cloud, where: Bools) -> Doubles | None:
    """Least-squares plane n (n·P = 1) of the pixels at `where`; None where they do not span a plane."""
    rows, cols = np.nonzero(where)
    if len(rows) < 12:
        return None
    step = max(len(rows) // SAMPLES, 1)
    rows, cols = rows[::step], cols[::step]
    design = np.stack([cloud.ray_x[0, cols], cloud.ray_y[rows, 0], np.ones(len(rows), np.float32)], 1).astype(np.float64)
    gram = design.T @ design
    if np.linalg.cond(gram) > 1e9:
        return None
    return np.asarray(np.linalg.solve(gram, design.T @ cloud.inverse[rows, cols].astype(np.float64)))


def horizontal_axes(down: Doubles) -> tuple[Doubles, Doubles]:
    """Two unit vectors that with `down` make a right-handed frame (ahead, aside, down)."""
    ahead = np.array([0.0, 0.0, 1.0]) - down[2] * down
    if np.linalg.norm(ahead) < 1e-3:
        ahead = np.array([1.0, 0.0, 0.0]) - down[0] * down
    ahead = ahead / np.linalg.norm(ahead)
    return ahead, np.cross(down, ahead)
