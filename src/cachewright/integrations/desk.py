"""What operators may ask and do, as values: the same for the router, the dashboard and the command line."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cachewright.errors import UsageError
from cachewright.integrations.gathered import ahead, hot_keys, together, worker_figures
from cachewright.integrations.operating import Operating
from cachewright.runtime.deletion import erase, of_tenant, of_user
from cachewright.runtime.drift import drift_of
from cachewright.runtime.engine import Engine
from cachewright.runtime.figures import Sampler, check_health
from cachewright.runtime.naming import collection, name_of, safe
from cachewright.runtime.stats import TargetStats
from cachewright.runtime.warming.warmer import Warmer
from cachewright.spec.tags import NAMESPACE_TAG, disguised_tag, target_tag
from cachewright.spec.target import Plan, Target

#: What `invalidate` is told, of which exactly one is given.
SUBJECTS = ("tags", "key", "pattern", "target", "user", "tenant", "all")
_MOST_TAGS = 1000


class Desk:
    """Figures and interventions of one installed cache. `figures` are this worker's, `directory` holds the others'."""

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        operating: Operating,
        figures: Callable[[], Mapping[str, Any]],
        directory: Path | None,
        *,
        warmer: Warmer | None = None,
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._operating = operating
        self._figures = figures
        self._directory = directory
        self._warmer = warmer
        self._sampler = Sampler()

    async def health(self) -> dict[str, Any]:
        """Whether the cache answers, and how much waits. The application answers in any case."""
        found = await check_health(self._engine)
        return {**asdict(found), "alarms": [alarm["name"] for alarm in self._operating.watch.raised]}

    def stats(self) -> dict[str, Any]:
        """The request's `metrics`, over all workers of this machine; by target; and what stands behind it."""
        workers = worker_figures(self._directory, self._figures())
        counted, gauges = together(workers)
        metrics = self._sampler.of(counted, gauges).as_dict()
        counters = metrics.pop("counters")
        targets = counters.pop("targets")
        return {
            "namespace": self._engine.namespace,
            "metrics": metrics,
            "forecast": {"hit_rate": self._operating.forecast},
            "targets": {
                target.name: {
                    "endpoint": _endpoint(target),
                    "scope": target.scope.value,
                    **targets.get(target.name, TargetStats().as_dict()),
                }
                for target in self._plan.targets.values()
            },
            "counters": counters,
            "database": _database(workers),
            "workers": [_worker(one) for one in workers],
            "warming": _warming(workers),
            "ahead": ahead(workers),
            "hot_keys": hot_keys(workers),
            "alarms": list(
                {alarm["name"]: alarm for one in workers for alarm in one.get("alarms", ())}.values()
            ),
        }

    async def servers(self) -> dict[str, Any]:
        """What the servers behind the store say of themselves, and where they differ from the specification."""
        store = self._engine.store
        found = [] if store is None else await store.facts()
        return {
            "servers": [{**asdict(one), "hit_rate": one.hit_rate} for one in found],
            "drift": [asdict(one) for one in drift_of(self._operating.redis, self._engine.settings, found)],
        }

    def targets(self) -> dict[str, Any]:
        """What is cached, as the specification says, and what is switched off now."""
        off = self._operating.switches.off
        return {
            "targets": [
                {
                    "name": target.name,
                    "endpoint": _endpoint(target),
                    "scope": target.scope.value,
                    "levels": list(target.levels),
                    "key": target.key.source,
                    "ttl_seconds": target.policy.ttl,
                    "mode": target.policy.mode,
                    "switched_off": target.name in off,
                    "problem": target.problem,
                }
                for target in self._plan.targets.values()
            ]
        }

    async def invalidate(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Invalidate one of `SUBJECTS`; `removed` counts keys where `physically` was asked for.

        Raises `UsageError` for anything else, `InvalidationPendingError` where it is kept for a later delivery, and
        `StoreUnavailableError` where keys could not be removed.
        """
        unknown = asked.keys() - {*SUBJECTS, "physically"}
        given = [subject for subject in SUBJECTS if asked.get(subject) not in (None, False)]
        of_a_user = given == ["user", "tenant"]
        if unknown or not given or (len(given) > 1 and not of_a_user):
            found = ", ".join(sorted(unknown or given)) or "nothing"
            raise UsageError(
                f"an invalidation takes one subject, and {found} was given",
                hint=f"give one of {', '.join(SUBJECTS)}, or user with tenant; physically with user or tenant only",
            )
        physically = asked.get("physically", False)
        if not isinstance(physically, bool) or (physically and given[0] not in ("user", "tenant")):
            raise UsageError("`physically` is true or false, with a user or a tenant", hint="leave it out")
        tags = self._tags(given[0], asked)
        counted: dict[str, Any] = {"invalidated": await self._engine.invalidate(tags, raise_pending=True)}
        if physically:
            counted["removed"] = await erase(self._engine, tags[0])
        return counted

    def _tags(self, subject: str, asked: Mapping[str, Any]) -> list[str]:  # noqa: PLR0911 - one for each subject
        value = asked[subject]
        match subject:
            case "tags" if isinstance(value, list) and 0 < len(value) <= _MOST_TAGS:
                return [safe(self._disguised(_text(tag, "a tag")), "tag") for tag in value]
            case "key":
                return self._of_key(_text(value, "a key"))
            case "pattern":
                return [collection(_text(value, "a pattern")).key]
            case "target":
                return [target_tag(self.target(value).name)]
            case "user":
                return [of_user(value, asked.get("tenant")).key]
            case "tenant":
                return [of_tenant(value).key]
            case "all" if value is True:
                return [NAMESPACE_TAG]
        raise UsageError(
            f"`{subject}` has no such value",
            hint=f"tags is a list of up to {_MOST_TAGS} texts, all is true",
        )

    def shown(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What was asked, as a log may hold it: secrets that tags were named by are hashed."""
        tags = asked.get("tags")
        if not isinstance(tags, list):
            return dict(asked)
        return {**asked, "tags": [self._disguised(tag) if isinstance(tag, str) else tag for tag in tags]}

    def _disguised(self, tag: str) -> str:
        return disguised_tag(tag, self._plan.hashed)

    def _of_key(self, key: str) -> list[str]:
        """The tags that change for one entry: its own, and the narrowest that an endpoint's entry is sure to hold."""
        name = name_of(key)
        if name.scoped:
            return [name.tag, name.tags[-1]]
        matching = [target for target in self._plan.targets.values() if _may_be_of(key, target)]
        return [name.tag, *(target_tag(target.name) for target in matching)]

    async def switch(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Turn one `target` on or off (`mode`: live, off), in every process. Raises `UsageError`."""
        mode = asked.get("mode")
        if asked.keys() != {"target", "mode"} or mode not in ("live", "off"):
            raise UsageError(
                "a switch takes a target and a mode", hint='as in {"target": "…", "mode": "off"}'
            )
        target = self.target(asked["target"])
        await self._operating.switches.turn(target.name, on=mode == "live")
        return {"target": target.name, "mode": mode}

    async def warm(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Begin to warm: one `job`, or all of them; `begun` are those that were not running. Raises `UsageError`."""
        names = () if self._warmer is None else self._warmer.names
        wanted = asked.get("job")
        if asked.keys() - {"job"} or (wanted is not None and wanted not in names) or not names:
            if not names:
                raise UsageError(
                    "no job is declared to warm",
                    hint="name queries under cache_warming.on_startup or cache_warming.scheduled",
                )
            raise UsageError(
                f"there is no job {wanted!r} to warm with", hint=f"there are: {', '.join(names)}"
            )
        assert self._warmer is not None
        begun = [name for name in names if wanted in (None, name) and self._warmer.begin(name)]
        return {"begun": begun, "warming": self._warmer.progress()}

    def target(self, name: object) -> Target:
        """The target of this name. Raises `UsageError`, with the names there are."""
        for target in self._plan.targets.values():
            if target.name == name:
                return target
        known = ", ".join(target.name for target in self._plan.targets.values()) or "none"
        raise UsageError(f"there is no target {name!r}", hint=f"there are: {known}")


Action = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{what} is a text, not {type(value).__name__}", hint='write it in quotes: "user:7"')
    return value


def _may_be_of(key: str, target: Target) -> bool:
    """Whether `key` has the literal parts of the target's pattern, in their places."""
    pattern = ":".join(
        "".join(re.escape(part) if isinstance(part, str) else "[^:]*" for part in segment)
        for segment in target.key.segments
    )
    return re.fullmatch(pattern, key) is not None


def _endpoint(target: Target) -> str:
    return f"{target.method} {target.template}"


def _worker(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figures.get(name) for name in ("pid", "alive", "gauges", "pending", "hears", "off")}


def _warming(workers: list[Mapping[str, Any]]) -> list[Any]:
    """How far each job has come, in the process that began it last."""
    latest: dict[str, Mapping[str, Any]] = {}
    for worker in workers:
        for job in worker.get("warming", ()):
            if job["job"] not in latest or (job["began"] or 0) > (latest[job["job"]]["began"] or 0):
                latest[job["job"]] = job
    return list(latest.values())


def _database(workers: list[Mapping[str, Any]]) -> dict[str, float]:
    return {name: sum(one["database"][name] for one in workers) for name in ("queries", "time_ms")}
