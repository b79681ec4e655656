"""Rules about staleness: every write that matters reaches the entry, and time changes no answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cachewright.checks.findings import Problem
from cachewright.checks.subject import Subject
from cachewright.evidence.dependencies import UNKNOWN_TABLE
from cachewright.simulator.lookups import Lookup, in_hashes
from cachewright.spec.filling import may_fill
from cachewright.spec.semantics import Reason
from cachewright.spec.tags import column_sets, read_alternatives

#: More tags than this make every lookup carry more tokens than data.
MOST_TAGS = 16
#: Lifetimes that suit data that changes often, seldom and hardly ever, in seconds (#73-#75).
BANDS = ((30, 60), (300, 900), (3600, 86400))
_MARKERS = 2


def uncovered_read(subject: Subject) -> Iterator[Problem]:
    """Requests of a target read a table that its `depends_on` does not cover.

    ## What it does
    Compares the SQL that requests of the target ran with the tags predicted for them. Needs `--trace`.

    ## Why
    A write to that table would invalidate nothing. The runtime refuses to keep such answers, so the target is
    never a hit.

    ## Example
    ```yaml
    - endpoint: GET /tasks            # which also reads `projects`
      depends_on: ["tasks(user_id={user_id})"]
    ```

    ## Fix
    Add the table, with the columns that every read of it pins: `projects(owner_id={user_id})`, or `projects`.
    """
    if subject.evidence is None:
        return
    sets = column_sets(tag for _, target in subject.ready() for tag in in_hashes(target).depends_on)
    for view, target in subject.ready():
        tables: Counter[str] = Counter()
        kept = [lookup for lookup in subject.lookups_of(target) if _may_be_kept(lookup)]
        for lookup in kept:
            reads = (r for s in lookup.statements for r in subject.evidence.reads.get(s.id, ()))
            tables.update(
                {
                    read.table
                    for read in reads
                    if read_alternatives(read.table, read.pinned, sets).isdisjoint(lookup.entry_tags)
                }
            )
        known = {template.table for template in target.depends_on}
        for table, count in tables.most_common():
            what = (
                "ran SQL that was not understood"
                if table == UNKNOWN_TABLE
                else f"read rows of {table} that its templates do not cover"
                if table in known
                else f"read {table}, which depends_on lacks"
            )
            yield Problem(view.at("depends_on"), f"{count} of {len(kept)} requests of {target.name} {what}")


def unusual_ttl(subject: Subject) -> Iterator[Problem]:
    """A lifetime lies outside the advised bands, or is missing where staleness is allowed.

    ## What it does
    Compares the lifetime of each target with the bands 30-60 s (the data changes often), 5-15 min (seldom)
    and 1-24 h (hardly ever).

    ## Why
    Tags keep entries fresh; the lifetime bounds what no tag can see, and how long unused entries fill memory.

    ## Example
    ```yaml
    strategy: {ttl: {duration_seconds: 7200000}}
    ```

    ## Fix
    Choose a lifetime in one of the bands, or leave it where you have measured that it is right.
    """
    for view, target in subject.ready():
        ttl = subject.spec.strategy_of(view.item).ttl.duration_seconds
        if ttl is None and target.max_staleness is not None:
            yield Problem(
                view.at("max_staleness_seconds"),
                f"{target.name} has no ttl; it lives {target.max_staleness:g} s, as stale as it may be",
            )
        elif ttl is not None and not any(low <= ttl <= high for low, high in BANDS):
            bands = ", ".join(f"{low}-{high}" for low, high in BANDS)
            yield Problem(view.at("strategy", "ttl"), f"{target.name} lives {ttl} s; advised are {bands} s")


def too_many_tags(subject: Subject) -> Iterator[Problem]:
    """An entry has more than 16 tags.

    ## What it does
    Counts the tags of an entry: the namespace, the target, the beginnings of its key, and for each item of
    `depends_on` one tag, or two where it pins columns.

    ## Why
    Every lookup fetches the token of every tag, and every one of them can invalidate the entry.

    ## Example
    ```yaml
    depends_on: [users, tasks, labels, files, teams, roles, plans, prices, news, faq, events, jobs, tips, ads]
    ```

    ## Fix
    Split the endpoint, or replace several tags of one table by the table.
    """
    for view, target in subject.ready():
        prefixes = (target.key.scope_segments + 1) // 2 + 1 if target.key.scope_segments else 0
        data = {str(template) for template in target.depends_on}
        bulk = {template.table for template in target.depends_on if template.columns}
        count = _MARKERS + prefixes + len(data) + len(bulk)
        if count > MOST_TAGS:
            yield Problem(
                view.at("depends_on"), f"an entry of {target.name} has {count} tags; keep to {MOST_TAGS}"
            )


def time_dependent(subject: Subject) -> Iterator[Problem]:
    """Answers of a target depend on the clock.

    ## What it does
    Looks for SQL that asks the database for the time or a random number, and for dates in predicates that no
    part of the request gave, in requests that no `bypass_when` leaves out. Needs `--trace`.

    ## Why
    Such an answer becomes wrong although nothing was written, and no tag can tell.

    ## Example
    ```yaml
    - endpoint: GET /tasks            # with ?due=overdue, `due_date < today`
      cache_key_pattern: "user:{user_id}:tasks:due={due}"
    ```

    ## Fix
    Leave those requests out: `bypass_when: ["query.due == 'overdue'"]`; or do not cache the endpoint.
    """
    if subject.evidence is None:
        return
    for view, target in subject.ready():
        kept = [lookup for lookup in subject.lookups_of(target) if _may_be_kept(lookup)]
        bound = [lookup for lookup in kept if lookup.request.id in subject.evidence.time_bound]
        if bound:
            words = f"{len(bound)} of {len(kept)} requests of {target.name} depend on the clock"
            yield Problem(view.at("bypass_when"), words, None if target.max_staleness is None else "warning")


def never_filled(subject: Subject) -> Iterator[Problem]:
    """A target names neither dependencies nor a bound for staleness.

    ## What it does
    Looks for targets with an empty `depends_on` and `max_staleness_seconds: 0`.

    ## Why
    Answers are kept only if every table they were made from is known, or if they may be stale. Such a target
    is never a hit.

    ## Example
    ```yaml
    - {endpoint: GET /version, scope: public, cache_key_pattern: version}
    ```

    ## Fix
    Name the tables in `depends_on`, or say how stale an answer may be: `max_staleness_seconds: 60`.
    """
    for view, target in subject.ready():
        if not target.declared:
            yield Problem(
                view.at(), f"{target.name} has no depends_on and no max_staleness_seconds: it is never kept"
            )


def _may_be_kept(lookup: Lookup) -> bool:
    """Whether nothing but the specification itself stands against keeping the answer."""
    reasons = may_fill(lookup.target.policy, lookup.facts, lookup.entry_tags, declared=True)
    return not set(reasons) - {Reason.DEPENDENCY_DRIFT, Reason.UNKEYED_READ}
