"""Which versions were measured on one and the same thing: what a ranking over many of them rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from core.errors import UsageError
from registry.records import Metrics, Series, Version


@dataclass(frozen=True)
class SharedSeries:
    """A dataset and camera in the state and by the protocol that most versions were measured in, the newest of these where several tie.

    `name` is how it is written: the dataset, with its camera where it has several.
    `metrics` is version → its measurement, `otherwise` is version → what differs in its own measurement of the place.
    """

    name: str
    series: Series
    metrics: dict[str, Metrics]
    otherwise: dict[str, str]


def shared_series(versions: Sequence[Version], *, exams_only: bool = True) -> list[SharedSeries]:
    """One for each dataset and camera that any of the versions was measured on, in the order of their names."""
    measurements = [(version.name, metrics) for version in versions for metrics in version.metrics if metrics.series.exam or not exams_only]
    # A dataset that was renamed is the same by its digest; it is called what the newest version calls it.
    names = {metrics.digest: metrics.dataset for _, metrics in measurements}
    places: dict[tuple[str, str, str], dict[Series, dict[str, Metrics]]] = {}
    for version, metrics in measurements:
        place = (metrics.domain, names[metrics.digest], metrics.camera)
        places.setdefault(place, {}).setdefault(metrics.series, {})[version] = metrics
    times = Counter(dataset for _, dataset, _ in places)
    return [
        _most_shared(dataset, dataset if times[dataset] == 1 else f"{dataset}@{camera}", groups)
        for (_, dataset, camera), groups in sorted(places.items())
    ]


def at(place: str, every: Sequence[SharedSeries]) -> SharedSeries:
    """The one that a domain, a dataset, a camera or `NAME@CAMERA` names. Raises UsageError for none, and where a name is that of several."""
    name, _, camera = place.partition("@")
    named = [
        shared
        for shared in every
        if name in (shared.series.dataset, shared.series.domain, shared.series.camera) and camera in ("", shared.series.camera)
    ]
    of_dataset = [shared for shared in named if shared.series.dataset == name]
    matches = of_dataset or named
    if len(matches) == 1:
        return matches[0]
    if not every:
        raise UsageError(
            f"no version was measured in an exam yet, so not on {place!r}", "measure with: vortex evaluate VERSION --domain DOMAIN"
        )
    names = _names(matches or every)
    if matches:
        raise UsageError(f"{place!r} is {len(matches)} things that do not compare: {names}", f"name one of them, as {matches[0].name}")
    raise UsageError(
        f"no version was measured on {place!r}, allowed: {names}",
        "name one of them, or measure versions with: vortex evaluate VERSION --domain DOMAIN",
    )


def _names(every: Iterable[SharedSeries]) -> str:
    return ", ".join(f"{shared.name} ({shared.series.domain})" for shared in every)


def _most_shared(dataset: str, name: str, groups: dict[Series, dict[str, Metrics]]) -> SharedSeries:
    """The group with most versions; of those, the one that was begun last. A version that is in another alone is told apart from it."""
    metrics = max(reversed(groups.values()), key=len)
    series = replace(list(metrics.values())[-1].series, dataset=dataset)
    otherwise = {
        version: str(other.series.difference(series))
        for group in groups.values()
        for version, other in group.items()
        if version not in metrics
    }
    return SharedSeries(name, series, metrics, otherwise)
