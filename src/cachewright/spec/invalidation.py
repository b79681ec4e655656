"""What makes entries invalid: rules by operation, triggers by event or time, versions in the data."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from cachewright.spec.section import Flag, ScheduleText, Section, Text, Texts, Writes, reject

Operation = Literal["create", "update", "delete", "bulk_update"]
InvalidationScope = Literal["specific", "collection", "pattern", "global"]
Action = Literal["insert", "update", "delete"]
VersionStrategy = Literal["invalidate_on_change", "compare_versions"]


class Rule(Section):
    """What one kind of write invalidates."""

    writes: ClassVar[Writes] = "changed"

    operation: Operation
    """The write; create corresponds to a trigger's insert (C29)."""
    invalidate_patterns: Texts
    """Key patterns or tag templates that become invalid."""
    scope: InvalidationScope = "specific"
    """specific one key, collection a key and all below it, pattern what matches, global this namespace."""
    cascades: Texts = ()
    """Further patterns that become invalid with these."""


class TimeBased(Section):
    """Invalidation by the clock."""

    writes: ClassVar[Writes] = "changed"

    schedule: ScheduleText | None = None
    """A cron expression of five fields or an interval (C52)."""
    ttl_check: Flag = False
    """Whether expired entries are also removed at that moment."""


class Trigger(Section):
    """An event, or a moment, that invalidates."""

    writes: ClassVar[Writes] = "changed"

    event: Text | None = None
    """A database event or an API call, such as `after_commit` or `PATCH /api/tasks/{id}`."""
    table: Text | None = None
    """The database table."""
    action: Action | None = None
    """What happened to the row."""
    entity_id: Text | None = None
    """A literal, or a template with `{column}` of the row (C30)."""
    time_based: TimeBased | None = None
    """The moment, for a trigger without an event."""

    @model_validator(mode="after")
    def _event_or_time(self) -> Self:
        if (self.event is None) == (self.time_based is None):
            raise reject(
                "a trigger has either an event or time_based", hint="for example `event: after_commit`"
            )
        if self.time_based is not None and any((self.table, self.action, self.entity_id)):
            raise reject(
                "table, action and entity_id belong to an event, not to time_based", at=("time_based",)
            )
        return self


class Versioning(Section):
    """Versions kept in the data, to tell an old value from a new one."""

    enabled: Flag = False
    """Whether versions are compared."""
    version_field: Text | None = None
    """The column that changes with every write, such as `updated_at`."""
    strategy: VersionStrategy = "invalidate_on_change"
    """invalidate_on_change drops an entry of another version, compare_versions keeps the higher one."""


class Invalidation(Section):
    """Everything that invalidates."""

    rules: tuple[Rule, ...] = ()
    """By operation."""
    triggers: tuple[Trigger, ...] = ()
    """By event or time."""
    versioning: Versioning = Versioning()
    """By version."""
