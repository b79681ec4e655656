"""What the rules look at: a specification with its targets ready, and what is known of its application."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from cachewright.analysis.exchanges import gather
from cachewright.analysis.timebound import time_bound
from cachewright.checks.comments import Ignore, ignores_in
from cachewright.checks.findings import Finding, Path, Problem
from cachewright.checks.openapi import ApiRoute
from cachewright.errors import SpecError
from cachewright.evidence.dependencies import ReadSeen, reads_of
from cachewright.evidence.trace import Trace
from cachewright.simulator.lookups import Lookup, Prepared, prepare
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.document import Document
from cachewright.spec.model import CachingSpecification
from cachewright.spec.target import Target, compile_plan


class AppParam(Protocol):
    """A declared parameter of a route, from an application or a trace."""

    @property
    def name(self) -> str:
        """Its name on the wire."""

    @property
    def where(self) -> str:
        """`path`, `query`, `header` or `cookie`."""


class AppRoute(Protocol):
    """A route of an application as `capture.routes.walk` finds it."""

    @property
    def methods(self) -> Collection[str]:
        """Its methods."""

    @property
    def template(self) -> str:
        """Its path."""

    @property
    def params(self) -> Sequence[AppParam]:
        """Its parameters."""

    @property
    def credentials(self) -> Sequence[str]:
        """What its security schemes read."""


@dataclass(frozen=True, slots=True)
class RouteKnown:
    """A route as far as it is known: parameters and credentials in the names of capture (`query:page`).

    `answers` are the members of its answers, `choices` all values of a parameter, `free` those that any text
    fits: known from an OpenAPI document alone.
    """

    method: str
    template: str
    declared: frozenset[str]
    credentials: frozenset[str]
    answers: frozenset[str] = frozenset()
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    free: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TargetView:
    """A target of the specification: as written, and ready to execute where it could be understood."""

    index: int
    item: CacheTarget
    ready: Target | None
    trouble: Problem | None = None

    def at(self, *below: str | int) -> Path:
        """The path of something in this target."""
        return ("cache_targets", self.index, *below)

    @property
    def place(self) -> tuple[str, str]:
        """Method and template of an endpoint."""
        method, _, template = (self.item.endpoint or "").strip().rpartition(" ")
        return (method or "GET").upper(), template


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a trace shows: lookups by name of target, reads by statement, requests bound to time."""

    trace: Trace
    prepared: Prepared
    lookups: Mapping[str, tuple[Lookup, ...]]
    reads: Mapping[int, tuple[ReadSeen, ...]]
    time_bound: frozenset[int]


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything a rule may look at.

    `routes` and `tables` (columns by table) are None where nothing tells them; `whole_app` says that the routes
    are all the application has. `found` is what the rules before this one found.
    """

    document: Document
    targets: tuple[TargetView, ...]
    routes: Mapping[tuple[str, str], RouteKnown] | None = None
    whole_app: bool = False
    evidence: Evidence | None = None
    tables: Mapping[str, tuple[str, ...]] | None = None
    ignores: tuple[Ignore, ...] = ()
    found: tuple[Finding, ...] = ()

    @property
    def spec(self) -> CachingSpecification:
        """The specification."""
        return self.document.spec

    def ready(self) -> Iterator[tuple[TargetView, Target]]:
        """The targets that can be executed."""
        for view in self.targets:
            if view.ready is not None:
                yield view, view.ready

    def route_of(self, view: TargetView) -> RouteKnown | None:
        """The route of an endpoint, where it is known."""
        return None if self.routes is None else self.routes.get(view.place)

    def lookups_of(self, target: Target) -> tuple[Lookup, ...]:
        """What the trace shows of a target."""
        return () if self.evidence is None else self.evidence.lookups.get(target.name, ())


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the application beside its trace: its routes, its OpenAPI document, its tables."""

    routes: Iterable[AppRoute] | None = None
    api: Sequence[ApiRoute] | None = None
    tables: Mapping[str, tuple[str, ...]] | None = None


def subject_of(document: Document, *, trace: Trace | None = None, known: Known | None = None) -> Subject:
    """Make everything ready that the rules need.

    Raises `NotEnoughEvidenceError` for a trace without requests.
    """
    told = known or Known()
    targets = tuple(_view(document, index, item) for index, item in enumerate(document.spec.cache_targets))
    evidence = None if trace is None else _evidence(document, targets, trace)
    whole = told.routes if told.routes is not None else told.api
    routes: dict[tuple[str, str], RouteKnown] | None = None
    if whole is not None:
        routes = {(route.method, route.template): route for route in _of_app(whole)}
    elif trace is not None:
        routes = {(route.method, route.template): route for route in _of_trace(trace)}
    return Subject(
        document,
        targets,
        routes=None if routes is None else _told_by(told.api or (), routes),
        whole_app=whole is not None,
        evidence=evidence,
        tables=told.tables or (trace.schema.tables if trace is not None and trace.schema.tables else None),
        ignores=ignores_in(document.text),
    )


def _view(document: Document, index: int, item: CacheTarget) -> TargetView:
    """One target, compiled alone, so that what is wrong with one does not hide the others."""
    if item.endpoint is None:
        return TargetView(index, item, None)
    pattern = document.spec.key_pattern_of(item)
    if pattern is None:
        path: Path = ("cache_targets", index)
        return TargetView(index, item, None, Problem(path, "the target has no cache_key_pattern"))
    alone = item.model_copy(update={"cache_key_pattern": pattern})
    here: Path = ("cache_targets", index)
    single = replace(
        document,
        spec=document.spec.model_copy(update={"cache_targets": (alone,), "enabled": True}),
        positions={
            ("cache_targets", 0, *path[2:]): place
            for path, place in document.positions.items()
            if path[:2] == here
        },
    )
    try:
        (ready,) = compile_plan(single).targets.values()
    except SpecError as error:
        place = next(
            (path for path, where in document.positions.items() if where == (error.line, error.column)), here
        )
        return TargetView(index, item, None, Problem(place, error.detail))
    return TargetView(index, item, ready)


def _evidence(document: Document, targets: tuple[TargetView, ...], trace: Trace) -> Evidence:
    kept = tuple(
        view.item.model_copy(update={"cache_key_pattern": view.ready.key.source})
        for view in targets
        if view.ready is not None
    )
    spec = document.spec.model_copy(update={"cache_targets": kept, "enabled": True})
    prepared = prepare(trace, compile_plan(replace(document, spec=spec)))
    lookups: dict[str, list[Lookup]] = defaultdict(list)
    for lookup in prepared.lookups:
        lookups[lookup.target.name].append(lookup)
    record = gather(trace)
    bound = (request for route in record.routes for request in time_bound(route, record).requests)
    return Evidence(
        trace,
        prepared,
        {name: tuple(found) for name, found in lookups.items()},
        reads_of(trace),
        frozenset(bound),
    )


def _of_app(routes: Iterable[AppRoute]) -> Iterator[RouteKnown]:
    for route in routes:
        for method in route.methods:
            yield RouteKnown(method, route.template, _declared(route.params), frozenset(route.credentials))


def _told_by(
    api: Iterable[ApiRoute], routes: Mapping[tuple[str, str], RouteKnown]
) -> dict[tuple[str, str], RouteKnown]:
    """The routes with what their OpenAPI document tells of them."""
    found = dict(routes)
    for route in api:
        for method in route.methods:
            if (known := found.get((method, route.template))) is not None:
                found[method, route.template] = replace(
                    known,
                    answers=route.answers,
                    choices={f"{p.where}:{p.name}": p.choices for p in route.params if p.choices},
                    free=frozenset(f"{p.where}:{p.name}" for p in route.params if p.free),
                )
    return found


def _of_trace(trace: Trace) -> Iterator[RouteKnown]:
    for route in trace.routes:
        yield RouteKnown(route.method, route.template, _declared(route.params), frozenset(route.credentials))


def _declared(params: Iterable[AppParam]) -> frozenset[str]:
    return frozenset(f"{param.where}:{param.name}" for param in params)
