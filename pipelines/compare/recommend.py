"""Which version to take for a domain: to deploy there, or to fine-tune from. Derived from exams, with what speaks for it and against it.

A version is weighed by what it gives up: on each criterion, by how large a share it falls short of the best of all candidates. The one
whose largest shortfall is the smallest is taken (minimax regret: Savage 1951, JASA 46:55–67). So a little depth is not bought with half of
the classes, nor the other way round, and nobody has to say what a centimetre is worth in points of IoU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from core.errors import VortexError
from pipelines.compare.errors_at_hand import ErrorsAtHand
from pipelines.compare.forgetting import Forgetting, forgetting
from pipelines.compare.latency import latencies
from pipelines.compare.pooled import METRICS
from pipelines.compare.shared_series import SharedSeries, shared_series
from pipelines.compare.verdict import MARGIN, Verdict, judge_frames
from pipelines.data.datasets import listing, resolve
from pipelines.hub.classes import class_pixels
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry.edges import WeightsEdge
from registry.lineage import unproven, weights_line
from registry.records import Series, Version
from registry.stages import channel_states
from registry.versions import Hub, no_versions

Purpose = Literal["deploy", "finetune"]
WEIGHED: Final[Mapping[Purpose, tuple[str, ...]]] = {"deploy": ("rmse", "rmse_near", "miou"), "finetune": ("rmse",)}
"""By what versions are weighed. Depth near the robot counts beside depth as a whole. A base is weighed by its depth elsewhere: classes are
learnt again from the new domain's labels."""
OPEN: Final = ("open", "worse")
"""What leaves an answer open: nothing to tell the two apart by, or nothing but what speaks against the better figures."""
MOST_RIVALS: Final = 8
"""Candidates against which the recommended one is judged frame by frame, the nearest first; each more makes every interval wider."""
MOST_BASES: Final = 50
"""Candidates of which it is asked what they forgot, the best first."""


@dataclass(frozen=True)
class Criterion:
    """One metric of one exam."""

    metric: str
    place: str
    series: Series

    @property
    def name(self) -> str:
        """The metric, and where."""
        return f"{self.metric} on {self.place}"

    def text(self, value: float) -> str:
        """A value of it, as a person reads it."""
        return METRICS[self.metric].text(value)


@dataclass(frozen=True)
class Candidate:
    """A version that could be taken: its value on each criterion, the share by which it falls short of the best there, and its largest one."""

    version: str
    codename: str
    values: tuple[float, ...]
    shortfalls: tuple[float, ...]
    production: tuple[str, ...]
    """Channels of any domain that it is in production on."""

    @property
    def gives_up(self) -> float:
        """The largest of its shortfalls."""
        return max(self.shortfalls)


@dataclass(frozen=True)
class Rivalry:
    """The recommended version against another candidate; `words` sum up the verdicts, one a criterion, None where none could be given."""

    version: str
    word: Literal["better", "worse", "equivalent", "trade", "open"]
    words: str
    verdicts: tuple[Verdict | None, ...]


@dataclass(frozen=True)
class Recommendation:
    """The result of `recommend`. `certain` is False where the frames say too little to tell it from one of `tied`."""

    domain: str
    purpose: Purpose
    version: str
    certain: bool
    tied: tuple[str, ...]
    reasons: tuple[str, ...]
    criteria: tuple[Criterion, ...]
    candidates: tuple[Candidate, ...]
    rivals: tuple[Rivalry, ...]
    excluded: Mapping[str, str]
    edge: str = "has the better figures"
    """What the version has over those that it is tied with."""

    @property
    def sentence(self) -> str:
        """The answer in one line."""
        use = f"for {self.domain}" if self.purpose == "deploy" else f"to fine-tune on {self.domain} from"
        if self.certain:
            return f"{self.version} {use}"
        return f"too little to say between {' and '.join((self.version, *self.tied))} {use}; {self.version} {self.edge}"


def recommend(ws: Workspace, domain: str, purpose: Purpose = "deploy", *, margin: float = MARGIN, seed: int = 0) -> Recommendation:
    """Say which version to take for `domain`, from what the registry holds of exams; nothing is measured.

    Raises VortexError for an unknown domain, and where no version can be recommended: its details say what each lacks.
    """
    setting = ws.domain(domain)
    registry = hub(ws)
    versions = registry.versions()
    if not versions:
        raise no_versions(f"nothing to recommend for {domain}: ")
    exams = shared_series(versions)
    of_domain = [shared for shared in exams if shared.series.domain == domain]
    if purpose == "deploy":
        judging = of_domain if setting.exam is None else _in_exam(ws, setting.exam, of_domain)
    else:
        judging = _widely_shared([shared for shared in exams if shared.series.domain != domain]) or of_domain
    if not judging:
        raise VortexError(
            f"no version was measured in an exam {'of' if purpose == 'deploy' else 'that could judge a base for'} {domain}",
            f"measure some: vortex evaluate VERSION --domain {domain}",
        )
    deploy = purpose == "deploy"
    excluded = _excluded(
        registry, versions, judging, setting.require_classes if deploy else (), _withdrawn(registry, domain) if deploy else {}
    )
    eligible = [version for version in versions if version.name not in excluded]
    criteria = _criteria(eligible, judging, WEIGHED[purpose])
    if not criteria:
        details = [f"{name}: {reason}" for name, reason in excluded.items()]
        ways = f"measure with: vortex evaluate VERSION --domain {domain}"
        ways += "; train one on data that passed: vortex validate, vortex train" if unproven(registry.summaries()) else ""
        ways += "; what stands in quarantine, and how it is lifted: vortex quarantine" if registry.barred() else ""
        raise VortexError(f"no version can be recommended for {domain}", ways, details)
    candidates = _candidates(eligible, judging, criteria)
    question = _Question(ws, registry, domain, {version.name: version for version in versions}, criteria, judging, margin, seed)
    answer = question.deploy(candidates) if purpose == "deploy" else question.finetune(candidates)
    return Recommendation(
        domain, purpose, *answer, tuple(criteria), tuple(candidates), question.rivals, excluded | question.passed_over, question.edge
    )


def _in_exam(ws: Workspace, exam: Sequence[str], of_domain: Sequence[SharedSeries]) -> list[SharedSeries]:
    """Those whose dataset the exam names: a dataset that is here under another name now is known by its content."""
    contents = {resolve(ws, name_or_manifest=dataset.name).digest for dataset in listing(ws) if dataset.name in exam}
    return [shared for shared in of_domain if shared.series.dataset in exam or shared.series.digest in contents]


def _widely_shared(exams: Sequence[SharedSeries]) -> list[SharedSeries]:
    """The exam that most versions have sat, and those others that all of these have sat too."""
    if not exams:
        return []
    widest = max(exams, key=lambda shared: len(shared.metrics))
    return [shared for shared in exams if widest.metrics.keys() <= shared.metrics.keys()]


def _withdrawn(registry: Hub, domain: str) -> dict[str, str]:
    """Version → the channel of the domain that a rollback took it out of, where none of them has it in production."""
    states = [state for state in channel_states(registry.ledger) if state.channel.domain == domain]
    running = {state.production for state in states}
    return {name: str(state.channel) for state in states for name in state.withdrawn if name not in running}


def _excluded(
    registry: Hub,
    versions: Sequence[Version],
    judging: Sequence[SharedSeries],
    require_classes: Sequence[str],
    withdrawn: Mapping[str, str],
) -> dict[str, str]:
    """Version → why it is no candidate."""
    refused, barred = unproven(registry.summaries()), registry.barred()
    excluded = {}
    for version in versions:
        missing = [shared.name for shared in judging if version.name not in shared.metrics and version.name not in shared.otherwise]
        reasons = [f"no exam figures on {', '.join(missing)}"] if missing else []
        reasons += [
            f"measured otherwise on {shared.name}: {shared.otherwise[version.name]}"
            for shared in judging
            if version.name in shared.otherwise
        ]
        if version.name in refused:
            reasons.append(f"data that is not proven to have passed: {refused[version.name]}")
        reasons += map(str, barred.get(version.name, ()))
        if version.name in withdrawn:
            reasons.append(f"a rollback took it out of {withdrawn[version.name]}; vortex history {version.name} says why")
        if not reasons and require_classes:
            pixels = class_pixels(registry, version)
            lacking = [name for name in require_classes if pixels is not None and not pixels[name]]
            reasons += [f"never trained on the required class {name}" for name in lacking]
        if reasons:
            excluded[version.name] = "; ".join(reasons)
    return excluded


def _criteria(eligible: Sequence[Version], judging: Sequence[SharedSeries], metrics: Sequence[str]) -> list[Criterion]:
    """The metrics of the exams that every candidate has, finite and above 0: nothing falls short of 0 by a share."""
    return [
        Criterion(metric, shared.name, shared.series)
        for shared in judging
        for metric in metrics
        if eligible and all(_positive(shared.metrics[version.name].values.get(metric)) for version in eligible)
    ]


def _positive(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value)) and value > 0


def _candidates(eligible: Sequence[Version], judging: Sequence[SharedSeries], criteria: Sequence[Criterion]) -> list[Candidate]:
    """All candidates, the one that gives up least first."""
    metrics = {shared.series: shared.metrics for shared in judging}
    values = np.array([[metrics[each.series][version.name].values[each.metric] for each in criteria] for version in eligible])
    lower = np.array([METRICS[each.metric].direction == "lower" for each in criteria])
    best = np.where(lower, values.min(axis=0), values.max(axis=0))
    shortfalls = np.where(lower, values / best - 1, 1 - values / best)
    candidates = [
        Candidate(
            version.name,
            version.codename,
            tuple(map(float, row)),
            tuple(map(float, lost)),
            tuple(channel for channel, stage in version.stages if stage == "production"),
        )
        for version, row, lost in zip(eligible, values, shortfalls, strict=True)
    ]
    return sorted(candidates, key=lambda candidate: (candidate.gives_up, sum(candidate.shortfalls)))


_Answer = tuple[str, bool, tuple[str, ...], tuple[str, ...]]
"""The version, whether that is certain, who is tied with it, and the reasons."""


class _Question:
    """One domain and purpose, with what is asked of the registry on the way to an answer."""

    def __init__(
        self,
        ws: Workspace,
        registry: Hub,
        domain: str,
        versions: Mapping[str, Version],
        criteria: Sequence[Criterion],
        judging: Sequence[SharedSeries],
        margin: float,
        seed: int,
    ) -> None:
        self.registry, self.domain, self.versions, self.criteria = registry, domain, versions, criteria
        self.metrics = {shared.series: shared.metrics for shared in judging}
        self.errors = ErrorsAtHand(registry)
        self.margin, self.seed = margin, seed
        self.rivals: tuple[Rivalry, ...] = ()
        self.passed_over: dict[str, str] = {}
        self.edge = "has the better figures"
        self.latencies = latencies(ws, registry, versions.values())

    def deploy(self, candidates: Sequence[Candidate]) -> _Answer:
        """The candidate that gives up least, and whether the frames bear that out."""
        best, *others = candidates
        self.rivals = self._rivalries(best, others[:MOST_RIVALS])
        tied = tuple(rivalry.version for rivalry in self.rivals if rivalry.word in OPEN)
        if faster := self._fastest(best, [candidate for candidate in others if candidate.version in tied]):
            best = faster
            self.rivals = self._rivalries(best, [candidate for candidate in candidates if candidate is not best][:MOST_RIVALS])
            tied = tuple(rivalry.version for rivalry in self.rivals if rivalry.word in OPEN)
        reasons = [self._least(best, len(candidates)), *self._against(), *self._times(candidates), *self._forgotten(best)]
        return best.version, not tied, tied, (*reasons, *self._production(best, tied))

    def _fastest(self, best: Candidate, tied: Sequence[Candidate]) -> Candidate | None:
        """Of the best and those that the frames do not tell from it, the one that a device says is faster than the best; None where none is."""
        group = [best, *tied]
        for latency in self.latencies:
            if len(group) > 1 and all(candidate.version in latency.p99_ms for candidate in group):
                fastest = min(group, key=lambda candidate: latency.p99_ms[candidate.version])
                self.edge = f"is the fastest on {latency.name}"
                return fastest if fastest is not best else None
        return None

    def _times(self, candidates: Sequence[Candidate]) -> list[str]:
        """What the candidates take on each device that any of them was timed on."""
        lines = []
        for latency in self.latencies:
            times = [(latency.p99_ms[name], name) for name in (each.version for each in candidates) if name in latency.p99_ms]
            missing = [each.version for each in candidates if each.version not in latency.p99_ms]
            words = ", ".join(f"{name} {time:.2f} ms" for time, name in sorted(times)[:MOST_RIVALS])
            if times:
                lines.append(f"p99 on {latency.name}: {words}" + (f"; not measured: {', '.join(missing[:MOST_RIVALS])}" if missing else ""))
        return lines

    def finetune(self, candidates: Sequence[Candidate]) -> _Answer:
        """The base with the fewest forgotten domains; of those the best in depth, and of those that are not told apart the widest in data."""
        bases = self._least_forgetful(candidates)
        best, *others = bases
        self.rivals = self._rivalries(best, others[:MOST_RIVALS])
        alike = {rivalry.version for rivalry in self.rivals if rivalry.word in ("open", "equivalent")}
        widths = {candidate.version: self._width(candidate.version) for candidate in bases if candidate.version in {best.version, *alike}}
        widest = max((base for base in bases if base.version in widths), key=lambda base: widths[base.version])
        if widths[widest.version] > widths[best.version]:
            best = widest
            self.rivals = self._rivalries(best, [base for base in bases if base.version != best.version][:MOST_RIVALS])
        tied = tuple(
            rivalry.version for rivalry in self.rivals if rivalry.word in OPEN and self._width(rivalry.version) >= self._width(best.version)
        )
        reasons = [self._least(best, len(candidates)), *self._against()]
        reasons += [f"{name} {self._width_text(name)}" for name in (best.version, *sorted(alike - {best.version}))]
        reasons += self._forgotten(best) or [f"{best.version} forgot no domain"]
        return best.version, not tied, tied, (*reasons, *self._specialists(best.version))

    def _least_forgetful(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those with the fewest forgotten domains, in their order; the others are passed over, with what they forgot."""
        forgotten = {
            candidate.version: [record for record in self._losses(candidate.version) if record.forgotten]
            for candidate in candidates[:MOST_BASES]
        }
        domains = {name: len({record.domain for record in records}) for name, records in forgotten.items()}
        fewest = min(domains.values())
        for name, count in domains.items():
            if count > fewest:
                self.passed_over[name] = f"forgot {'; '.join(map(_lost, forgotten[name]))}"
        return [candidate for candidate in candidates if domains.get(candidate.version) == fewest]

    def _losses(self, name: str) -> tuple[Forgetting, ...]:
        """What a version forgot of its parent, apart from the domain that it is wanted for."""
        records = forgetting(self.registry, self.versions[name], margin=self.margin, seed=self.seed)
        return tuple(record for record in records if record.domain != self.domain)

    def _rivalries(self, best: Candidate, others: Sequence[Candidate]) -> tuple[Rivalry, ...]:
        """The best against each other one; all intervals of all of them hold at once."""
        comparisons = len(others) * len(self.criteria)
        return tuple(self._rivalry(best.version, other.version, comparisons) for other in others)

    def _rivalry(self, name: str, other: str, comparisons: int) -> Rivalry:
        verdicts: list[Verdict | None] = []
        words: dict[str, list[Criterion]] = {}
        for criterion in self.criteria:
            verdict = None
            try:
                of_name, of_other = (self.errors.of(version, self.metrics[criterion.series][version]) for version in (name, other))
                verdict = judge_frames(of_name, of_other, criterion.metric, margin=self.margin, comparisons=comparisons, seed=self.seed)
                word = verdict.words
            except VortexError as error:
                word = f"not judged ({error.message})"
            verdicts.append(verdict)
            words.setdefault(word, []).append(criterion)
        text = "; ".join(f"{word} by {_named(criteria)}" for word, criteria in words.items())
        return Rivalry(other, _summed(verdicts), text, tuple(verdicts))

    def _against(self) -> list[str]:
        """What the verdicts say, one line for all rivals of which they say the same."""
        rivals: dict[str, list[str]] = {}
        for rivalry in self.rivals:
            rivals.setdefault(rivalry.words, []).append(rivalry.version)
        return [f"against {', '.join(names)}: {words}" for words, names in rivals.items()]

    def _least(self, best: Candidate, count: int) -> str:
        """What it gives up, and where."""
        if count == 1:
            return f"{best.version} is the only candidate"
        place = int(np.argmax(best.shortfalls))
        if best.gives_up == 0:
            return f"of {count} candidates {best.version} is the best by {_named(self.criteria)}"
        criterion = self.criteria[place]
        return (
            f"of {count} candidates {best.version} gives up least: {100 * best.gives_up:.1f} % at most, "
            f"by {criterion.name} ({criterion.text(best.values[place])})"
        )

    def _forgotten(self, best: Candidate) -> list[str]:
        records = self._losses(best.version)
        return [f"{best.version} forgot {_lost(record)}" for record in records if record.forgotten] + [
            f"what {best.version} forgot on {record.domain} is not known: {record.unjudged}" for record in records if record.unjudged
        ]

    def _production(self, best: Candidate, tied: Sequence[str]) -> list[str]:
        """Where it runs already, or what would bring it there."""
        here = [channel for channel in best.production if channel.partition("/")[2] == self.domain]
        if here:
            return [f"{best.version} is in production on {', '.join(here)}"]
        running = {
            channel: name
            for name, version in self.versions.items()
            for channel, stage in version.stages
            if stage == "production" and channel.partition("/")[2] == self.domain
        }
        now = [
            f"{name} is in production on {channel}" + (", and nothing says that it is worse" if name in tied else "")
            for channel, name in running.items()
        ]
        promote = f"vortex promote {best.version} --domain {self.domain} --stage production --dry-run"
        return [*now, f"{best.version} is not in production for {self.domain}; what its gates say: {promote}"]

    def _width(self, name: str) -> tuple[int, int, int]:
        """How many domains, datasets and training frames a version and those whose weights are in it have seen."""
        line = [version for version in weights_line(self.versions[name], self.versions.get).values() if version is not None]
        uses = {(use.name, use.digest): use for version in line for use in version.data}
        return len({use.domain for use in uses.values()}), len(uses), sum(use.frames.get("train", 0) for use in uses.values())

    def _width_text(self, name: str) -> str:
        domains, sets, frames = self._width(name)
        return f"was trained on {frames:,} frames of {sets} dataset(s) of {domains} domain(s)"

    def _specialists(self, name: str) -> list[str]:
        """What was fine-tuned from it and measured on the domain, beside what was fine-tuned from others."""
        exams = [shared for shared in shared_series(list(self.versions.values())) if shared.series.domain == self.domain]
        reasons = []
        for shared in exams:
            children: dict[str, list[str]] = {}
            for child in shared.metrics:
                parents = [edge.version for edge in self.versions[child].parents if isinstance(edge, WeightsEdge)]
                value = shared.metrics[child].values.get("rmse")
                if parents and value is not None:
                    children.setdefault(parents[0], []).append(f"{child} has {METRICS['rmse'].text(value)}")
            if name in children:
                texts = [f"from {parent} {', '.join(texts)}" for parent, texts in _first(children, name)]
                reasons.append(f"what was fine-tuned on {shared.name}: {'; '.join(texts)}")
        return reasons


def _named(criteria: Iterable[Criterion]) -> str:
    """Criteria in words, those of one place together."""
    places: dict[str, list[str]] = {}
    for criterion in criteria:
        places.setdefault(criterion.place, []).append(criterion.metric)
    return ", ".join(f"{' and '.join(metrics)} on {place}" for place, metrics in places.items())


def _first(children: Mapping[str, list[str]], name: str) -> list[tuple[str, list[str]]]:
    return sorted(children.items(), key=lambda item: item[0] != name)


def _lost(record: Forgetting) -> str:
    share = "" if record.share is None else f" {100 * record.share:+.1f} %"
    return f"{record.domain} by {record.metric}{share} against {record.parent}"


def _summed(verdicts: Iterable[Verdict | None]) -> Literal["better", "worse", "equivalent", "trade", "open"]:
    """What verdicts by several criteria say together: better by one and worse by another is a trade, which the shortfalls decide."""
    words = {verdict.word if verdict else "open" for verdict in verdicts}
    if {"better", "worse"} <= words:
        return "trade"
    if "worse" in words:
        return "worse"
    if "better" in words:
        return "better"
    return "open" if "open" in words else "equivalent"
