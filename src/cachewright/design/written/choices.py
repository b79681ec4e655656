"""The choices for one target of a written request, each with its reason: scope, lifetime, levels, dependencies."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cachewright.design.hierarchy import BANDS, KINDS, LIFETIMES, MOST_FREE, kind_of, volatility_of
from cachewright.design.result import Decision
from cachewright.design.written.facts import Known, is_file, is_owner, tables_of, tags_of, users_table
from cachewright.request.backend import Backend
from cachewright.request.model import DataKind, Inputs, ttl_of
from cachewright.spec.cache_targets import Role
from cachewright.spec.keys import KeyTemplate, free_text
from cachewright.spec.strategy import Level, TtlOverride

_LEVELS_OF: dict[str, tuple[Level, ...]] = {
    "in_memory": ("l1",),
    "file": ("l3",),
    "redis": ("l2",),
    "database_query_cache": ("l2",),
    "cdn": ("l4",),
}
#: So many tables an endpoint may depend on without our knowing which; each is a tag.
_MOST_TABLES = 12


@dataclass(slots=True)
class Said:
    """What is said beside the specification, gathered while choosing."""

    decisions: list[Decision] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def scope_of(target: Known, inputs: Inputs, said: Said) -> str:  # noqa: PLR0911 - a list of rules, first match wins
    """Who may share an entry: public only where it is declared, the credential where nobody is known."""
    asked, subject = target.asked, target.subject
    secured = target.endpoint is not None and target.endpoint.secured
    identity = inputs.identity
    if asked.scope == "public" and not secured:
        return _decided(said, subject, "public", "It was declared to be public.")
    if asked.scope == "public":
        said.warnings.append(
            f"{subject}: declared public, but {target.endpoint.source if target.endpoint else ''} says that it needs "
            "a credential; it is kept apart by credential."
        )
        return _decided(said, subject, "credential", "What needs a credential is not for everybody.")
    if asked.scope == "tenant" and identity is not None and identity.tenant is not None:
        return _decided(said, subject, "tenant", "It was asked for, and the tenant's id is declared.")
    if asked.scope == "credential":
        return _decided(said, subject, "credential", "It was asked for.")
    if asked.endpoint is None:
        owned = target.facts is not None and any(
            is_owner(column) for read in target.facts.reads for column, _ in read.pinned
        )
        reason = "Its rows belong to a user." if owned else "Nothing says that all may share it."
        if not owned and asked.scope is None:
            said.questions.append(f"{subject}: is it the same for everybody? Then declare `scope: public`.")
        return _decided(said, subject, "user", reason)
    if identity is not None and identity.user is not None:
        return _decided(said, subject, "user", f"The user's id is declared ({identity.user}).")
    said.questions.append(
        f'{subject}: where does a request show whose it is? `identity: {{user: "claim:sub"}}` lets the credentials '
        "of one user share entries."
    )
    return _decided(
        said, subject, "credential", "Who asks is not declared; a credential's own entries cannot leak."
    )


def _decided(said: Said, subject: str, scope: str, reason: str) -> str:
    said.decisions.append(Decision(subject, f"scope: {scope}", reason))
    return scope


def data_kind(target: Known) -> DataKind:
    """What kind of data it is: as declared, else as its name says."""
    if target.asked.data_kind is not None:
        return target.asked.data_kind
    name = (
        target.asked.resource_type or target.place[1]
        if target.asked.endpoint is not None
        else target.resource
    )
    return kind_of(target.asked.resource_type or name, single=target.single)


def lifetime_of(target: Known, inputs: Inputs, said: Said) -> TtlOverride | None:
    """The target's own lifetime, None where the strategy's is the one: target, collection, strategy, design."""
    asked, subject, keys = target.asked, target.subject, inputs.cache_keys
    own = None if asked.strategy is None else asked.strategy.ttl
    if asked.ttl_seconds is not None:
        said_of_it = {} if own is None else own.model_dump()
        own = TtlOverride.model_validate({**said_of_it, "duration_seconds": asked.ttl_seconds})
    is_list = asked.endpoint is not None and not target.single
    if own is None and is_list and keys is not None and keys.collection.ttl is not None:
        own = TtlOverride(duration_seconds=keys.collection.ttl)
    if own is not None and "duration_seconds" in own.model_fields_set:
        return _asked_lifetime(subject, own, said)
    if (
        general := ttl_of(inputs.cache_strategy)
    ) is not None and "duration_seconds" in general.model_fields_set:
        _asked_lifetime(subject, general, said)
        return own
    kind = data_kind(target)
    gap = target.seconds_between_changes
    volatility = asked.volatility or (KINDS[kind].volatility if gap is None else volatility_of(gap))
    if volatility == "none" and asked.volatility is None:
        volatility = "low"
    seconds = LIFETIMES[volatility]
    why = (
        "as declared"
        if asked.volatility is not None
        else f"it changes every {gap:g} s"
        if gap is not None
        else f"usual for data of this kind ({kind})"
    )
    if asked.volatility is None and gap is None:
        said.assumptions.append(
            f"{subject}: how often its data changes was not said; assumed {volatility} ({kind})."
        )
    shown = "none" if seconds is None else f"{seconds} s"
    reason = f"Changes are {volatility}, {why}; the advice is {BANDS[volatility]}. Writes that are seen end it at once."
    said.decisions.append(Decision(subject, f"ttl: {shown}", reason))
    return TtlOverride.model_validate(
        {**({} if own is None else own.model_dump()), "duration_seconds": seconds}
    )


def _asked_lifetime(subject: str, asked: TtlOverride, said: Said) -> TtlOverride:
    seconds = asked.duration_seconds
    shown = "none" if seconds is None else f"{seconds} s"
    said.decisions.append(Decision(subject, f"ttl: {shown}", "It was asked for."))
    if seconds is not None and not any(
        low <= seconds <= high for low, high in ((30, 60), (300, 900), (3600, 86400))
    ):
        said.warnings.append(
            f"{subject}: a lifetime of {seconds} s lies outside the advised bands (30-60 s, 5-15 min, 1-24 h)."
        )
    return asked


def levels_of(target: Known, inputs: Inputs, said: Said, *, redis: str | None) -> tuple[Level, ...]:
    """The levels of a target: as asked, else by its store, else by its kind; without Redis where that is forbidden."""
    asked, subject = target.asked, target.subject
    general = inputs.cache_strategy
    kind = data_kind(target)
    if asked.levels:
        levels, reason = tuple(asked.levels), "They were asked for."
    elif asked.cache_type is not None:
        levels, reason = _LEVELS_OF[asked.cache_type], f"The store that was asked for is {asked.cache_type}."
    elif general is not None and general.cache_type is not None:
        levels, reason = (
            _LEVELS_OF[general.cache_type],
            f"The store that was asked for is {general.cache_type}.",
        )
    elif general is not None and general.hierarchy_level is not None:
        levels, reason = (general.hierarchy_level,), "The level was asked for."
    else:
        levels, reason = KINDS[kind].levels, f"This suits data of this kind ({kind})."
    if redis is not None and "l2" in levels:
        levels = tuple(level for level in levels if level != "l2") or ("l1",)
        reason = f"The project forbids Redis: {redis}"
    if levels == ("l1",) and inputs.workers != 1:
        many = "several processes" if inputs.workers else "an unknown number of processes"
        said.warnings.append(
            f"{subject}: kept in each process only, and there are {many}: each loads for itself."
        )
    said.decisions.append(Decision(subject, f"levels: {', '.join(levels)}", reason))
    return levels


def depends_on(target: Known, scope: str, backend: Backend, said: Said) -> tuple[str, ...]:
    """The tags of the data that an entry depends on: as asked, else from the SQL, else from the documents."""
    asked, subject = target.asked, target.subject
    if asked.depends_on:
        said.decisions.append(
            Decision(subject, f"depends_on: {', '.join(asked.depends_on)}", "It was asked for.")
        )
        return asked.depends_on
    if target.facts is not None:
        tags = tuple(sorted(str(tag) for tag in tags_of(target.facts)))
        said.decisions.append(
            Decision(subject, f"depends_on: {', '.join(tags)}", "These rows the query reads.")
        )
        return tags
    tables = list(tables_of(target, backend))
    reason = "Its path and the documents say so. Any write to them ends its entries; a recording would narrow that."
    if not tables and asked.endpoint is not None and not is_file(target):
        tables, reason = _supposed(target, backend, said)
    if not tables:
        if asked.endpoint is None:
            said.questions.append(
                f"{subject}: which tables does it read? Without `depends_on: [TABLE]` its entries end by their "
                "lifetime alone."
            )
        return ()
    users = users_table(backend)
    if scope != "public" and users is not None and users not in tables and target.asked.endpoint is not None:
        tables.append(users)
        said.assumptions.append(f"{subject}: whoever asks is looked up in {users}.")
    said.assumptions.append(f"{subject}: it reads {', '.join(sorted(tables))} and no other table.")
    said.decisions.append(Decision(subject, f"depends_on: {', '.join(sorted(tables))}", reason))
    return tuple(sorted(tables))


def _supposed(target: Known, backend: Backend, said: Said) -> tuple[list[str], str]:
    """The tables of an endpoint whose path is the name of none: all that are known, else one named like its path."""
    known = [table.name for table in backend.tables]
    if 0 < len(known) <= _MOST_TABLES:
        return known, "Its path is the name of no table, so it may read any; a recording would narrow that."
    said.questions.append(
        f"{target.subject}: which tables does it read? Say `depends_on: [TABLE]`: what reads another one is not kept."
    )
    words = target.resource.split(":")
    named = [word for word in words if kind_of(word, single=False) == "list"] or words
    name = re.sub(r"\W+", "_", named[-1].lower()).strip("_") or "root"
    return [name], "Its path is named so. What reads another table is not kept."


def staleness_of(target: Known, tags: tuple[str, ...], ttl: int | None, said: Said) -> int:
    """How stale an answer may be: a file in a CDN for as long as it lives, for no write tells that it changed."""
    if tags or target.asked.cache_type != "cdn" or not is_file(target):
        return 0
    seconds = ttl or LIFETIMES["low"] or 0
    reason = "A file changes with a deployment, which no write tells: its copies outside live that long."
    said.decisions.append(Decision(target.subject, f"max_staleness_seconds: {seconds}", reason))
    return seconds


def bound_of(target: Known, pattern: str, inputs: Inputs, said: Said) -> int | None:
    """The most entries of a target whose keys hold what anybody can make up, where nothing else bounds them."""
    free = [field for field in KeyTemplate.parse(pattern).fields if free_text(field)]
    asked = inputs.cache_strategy
    own = None if target.asked.strategy is None else target.asked.strategy.eviction_policy
    limits = [own, asked, None if asked is None else asked.eviction_policy]
    if not free or any(each is not None and (each.max_items or each.max_memory_bytes) for each in limits):
        return None
    reason = (
        f"Keys hold {', '.join(free)}, which may be anything; so many entries at most push nothing else out."
    )
    said.decisions.append(Decision(target.subject, f"max_items: {MOST_FREE}", reason))
    return MOST_FREE


def role_of(target: Known, levels: tuple[Level, ...]) -> Role:
    """The function that it serves: of a CDN, of a query, of a session, else of the application."""
    if target.asked.role is not None:
        return target.asked.role
    if "l4" in levels:
        return "cdn"
    return "query" if target.asked.database_query is not None else KINDS[data_kind(target)].role
