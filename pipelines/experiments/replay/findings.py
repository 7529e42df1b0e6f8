"""The nine findings of the lineage, each a pure function of what the replay measured. Bounds were set before anything was trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from pipelines.compare.verdict import Verdict
from pipelines.experiments.replay.claims import Finding, Measured, Part, confirmed, finding, over_frames, points, ratio

NYU, CORRIDOR, SECOND = "nyu", "lilocbench", "corridor_eval"
"""The set that the general students are trained on, the corridor of the specialists, and the corridor through a second camera."""
LAST: Final = "rmse_last"
"""RMSE of the last epoch. F1 and F2 ask what wrong targets teach; the best epoch, judged against truth, is the one that learnt least of them."""
ORDER_OF_MAGNITUDE: Final = 10.0
ALIKE: Final = 1.25
"""F2: two runs that both miss by metres differ in no way that matters while neither is a quarter worse. F3: a prediction in metres gains
less than this from being rescaled frame by frame; relative depth gains all."""


def f1(measured: Measured) -> Finding:
    """Relative depth as a target for metres, with fixed weights (V1) and with Kendall's (V2), against the metric teacher (V3)."""
    parts = (
        ratio(
            f"{version} misses by at least ten times as much as v3",
            f"last RMSE {version} / v3 on {NYU}",
            measured.of(version, NYU, LAST),
            measured.of("v3", NYU, LAST),
            above=ORDER_OF_MAGNITUDE,
            published=published,
        )
        for version, published in (("v1", "75.37 / 1.160 = 65"), ("v2", "tens of metres"))
    )
    return finding("F1", "Relative targets against metric truth fail by an order of magnitude, whatever the loss", *parts)


def f2(measured: Measured) -> Finding:
    """Kendall's weights (V2 a) against fixed ones (V2 b, which is V1 to the letter), both under relative targets."""
    part = ratio(
        "under wrong supervision the two weightings are alike",
        f"last RMSE v2 / v1 on {NYU}",
        measured.of("v2", NYU, LAST),
        measured.of("v1", NYU, LAST),
        above=1 / ALIKE,
        below=ALIKE,
        published="no significant difference",
    )
    return finding("F2", "Kendall or fixed weights: no difference that matters under wrong supervision", part)


def f3(measured: Measured) -> Finding:
    """Whether V3 speaks metres: better than the best constant guess, and hardly better still when each frame is rescaled."""
    seeds = measured.of("v3", NYU)
    constant = measured.constants.get(NYU)
    guess = ratio(
        "v3 beats the best constant guess",
        f"RMSE v3 / constant depth on {NYU}",
        seeds,
        dict.fromkeys(seeds, constant) if constant else {},
        below=1.0,
        published="1.160 m",
    )
    scale = ratio(
        "v3 needs no rescaling",
        f"RMSE of v3 as it is / after median scaling on {NYU}",
        seeds,
        measured.of("v3", NYU, "rmse_median_scaled"),
        below=ALIKE,
    )
    return finding("F3", "Metric teacher, berHu, Kendall and two rates give metric predictions", guess, scale)


def f4(measured: Measured) -> Finding:
    """V4 is V3 with the larger encoder."""
    return finding("F4", "The larger encoder helps at a fixed recipe", _rmse(measured, "v4", "v3", NYU, "lower", "−33 %"))


def f5(measured: Measured) -> Finding:
    """V5 is V4 with augmentation."""
    return finding(
        "F5",
        "Augmentation helps the training domain and can hurt another",
        _rmse(measured, "v5", "v4", NYU, "lower", "−26 %"),
        _rmse(measured, "v5", "v4", SECOND, "higher", "1.373 → 2.186 m"),
    )


def f6(measured: Measured) -> Finding:
    """V6 is V5 after pretraining on a mixture of which only NYU has labels."""
    return finding(
        "F6",
        "Multi-domain pretraining helps depth and costs mIoU where the other sets have no labels",
        _rmse(measured, "v6", "v5", NYU, "lower", "−9.3 %"),
        _miou(measured, "v6", "v5", NYU, "−15.2 points"),
    )


def f7(measured: Measured) -> Finding:
    """V7 is V5 fine-tuned on the corridor alone."""
    return finding("F7", "Single-domain fine-tuning forgets", _rmse(measured, "v7", "v5", NYU, "higher", "+130 %"))


def f8(measured: Measured) -> Finding:
    """V8 is V5 trained on NYU and the corridor half and half; dominated on the axes that the lineage measured for both."""
    return finding(
        "F8",
        "Naive 50/50 mixing is dominated by its parent",
        _rmse(measured, "v8", "v5", NYU, "higher", "0.572 → 0.592 m"),
        _miou(measured, "v8", "v5", NYU, "−0.8 points"),
        _rmse(measured, "v8", "v5", SECOND, "higher", "2.186 → 2.266 m"),
    )


def f9(measured: Measured) -> Finding:
    """V9 is V7's protocol from V6."""
    return finding("F9", "The richer base gives the better specialist", _rmse(measured, "v9", "v7", CORRIDOR, "lower", "−14 %"))


FINDINGS: Final[tuple[Callable[[Measured], Finding], ...]] = (f1, f2, f3, f4, f5, f6, f7, f8, f9)


def judge_all(measured: Measured) -> tuple[Finding, ...]:
    """Every finding, in order."""
    return tuple(judge(measured) for judge in FINDINGS)


def _rmse(measured: Measured, a: str, b: str, dataset: str, side: Literal["lower", "higher"], published: str) -> Part:
    """Which of two versions has the lower RMSE on a set: by seeds, and confirmed by frames."""
    part = ratio(
        f"{a} has a {side} RMSE than {b} on {dataset}",
        f"RMSE {a} / {b} on {dataset}",
        measured.of(a, dataset),
        measured.of(b, dataset),
        published=published,
        **({"below": 1.0} if side == "lower" else {"above": 1.0}),
    )
    return confirmed(part, _over_frames(measured, a, b, dataset, "rmse"), "better" if side == "lower" else "worse")


def _miou(measured: Measured, a: str, b: str, dataset: str, published: str) -> Part:
    """Whether a version's mIoU is below another's: by seeds, and confirmed by frames."""
    part = points(
        f"{a} has a lower mIoU than {b} on {dataset}",
        f"mIoU {a} − {b} on {dataset}",
        measured.of(a, dataset, "miou"),
        measured.of(b, dataset, "miou"),
        below=0.0,
        published=published,
    )
    return confirmed(part, _over_frames(measured, a, b, dataset, "miou"), "worse")


def _over_frames(measured: Measured, a: str, b: str, dataset: str, metric: str) -> Verdict | None:
    return over_frames(measured.errors.get((a, dataset), {}), measured.errors.get((b, dataset), {}), metric)
