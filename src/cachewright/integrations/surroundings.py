"""What an installation is told besides its specification, and what follows from both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cachewright.errors import SurroundingsError
from cachewright.integrations.admin import checked_token
from cachewright.integrations.operating import OnAlarm
from cachewright.integrations.warmth import Identity, checked_loaders, checked_url, named
from cachewright.runtime.alarms.sinks import Webhook
from cachewright.runtime.journal import state_directory
from cachewright.runtime.sealing import sealing_named, sealing_of
from cachewright.runtime.settings import Sealing, SealingKey, Settings
from cachewright.runtime.tiers import with_tiers
from cachewright.runtime.warming.warmer import Loader
from cachewright.spec.lifetimes import hard_limit
from cachewright.spec.model import CachingSpecification
from cachewright.spec.target import Plan

Mode = Literal["live", "shadow", "off"]
_SEVERAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an installation is told besides its specification.

    `secret` keys all hashes and is one per fleet; without it each process draws its own and shares no
    acceptance. `at_its_word` is for `verify` (see `exchange.Parts`). Each worker writes its figures to
    `stats_dir` every second, and touches a file in `ready_dir` when the application has started. `workers` that
    are not known (None) count as several. In `journal_dir` invalidations that could not be delivered survive the
    process; by default that is `cachewright` in the user's directory for state. Targets of level l3 have their files
    in `cache_dir`, by default `cachewright` in the user's directory for caches. In mode `shadow` nothing is served and
    every would-be hit is compared with the answer; in mode `live` that share of hits which `audit` says. What is found
    goes to the file `findings`. With an `admin_token` the
    administrator's door stands open to whoever sends it. Alarms go to `webhook` and to `on_alarm`.
    Figures are put on `meter`, one of OpenTelemetry's.
    `loaders` and `warm_as` are what warming works with, `warm_url` is where users reach the application.
    """

    redis_url: str | None = None
    workers: int | None = None
    secret: bytes | None = None
    mode: Mode = "live"
    audit: float = 0.0
    findings: Path | None = None
    at_its_word: bool = False
    stats_dir: Path | None = None
    ready_dir: Path | None = None
    journal_dir: Path | None = None
    cache_dir: Path | None = None
    keys: tuple[SealingKey, ...] = ()
    sealing: Sealing | None = None
    admin_token: str | None = None
    webhook: Webhook | None = None
    on_alarm: OnAlarm | None = None
    meter: Any | None = None
    loaders: Mapping[str, Loader] | None = None
    warm_as: Identity | None = None
    warm_url: str | None = None

    def __post_init__(self) -> None:
        checked_token(self.admin_token)
        checked_loaders(self.loaders)
        checked_url(self.warm_url)


def surroundings_of(environ: Mapping[str, str]) -> Surroundings:
    """The surroundings that `CACHEWRIGHT_*` variables describe. Raises what those that are wrong raise."""
    modes: dict[str | None, Mode] = {"off": "off", "shadow": "shadow"}
    mode = modes.get(environ.get("CACHEWRIGHT_MODE"), "live")
    findings = environ.get("CACHEWRIGHT_FINDINGS")
    stats, ready = environ.get("CACHEWRIGHT_STATS_DIR"), environ.get("CACHEWRIGHT_READY_DIR")
    journal, files = environ.get("CACHEWRIGHT_JOURNAL_DIR"), environ.get("CACHEWRIGHT_CACHE_DIR")
    secret, workers = environ.get("CACHEWRIGHT_SECRET"), environ.get("CACHEWRIGHT_WORKERS")
    sealing, keys = sealing_of(environ)
    return Surroundings(
        redis_url=environ.get("CACHEWRIGHT_REDIS_URL") or None,
        workers=int(workers) if workers else None,
        secret=secret.encode() if secret else None,
        mode=mode,
        audit=_share(environ.get("CACHEWRIGHT_AUDIT")),
        findings=Path(findings) if findings else None,
        stats_dir=Path(stats) if stats else None,
        ready_dir=Path(ready) if ready else None,
        journal_dir=Path(journal) if journal else None,
        cache_dir=Path(files) if files else None,
        keys=keys,
        sealing=sealing,
        admin_token=environ.get("CACHEWRIGHT_ADMIN_TOKEN") or None,
        webhook=_webhook(environ),
        meter=_meter(environ),
        loaders=named(environ.get("CACHEWRIGHT_LOADERS")),
        warm_as=named(environ.get("CACHEWRIGHT_WARM_AS")),
        warm_url=environ.get("CACHEWRIGHT_WARM_URL") or None,
    )


def _share(one_in: str | None) -> float:
    """The share of hits that "1 in so many" means."""
    return 1 / int(one_in) if one_in and one_in.isdigit() and int(one_in) > 0 else 0.0


def _webhook(environ: Mapping[str, str]) -> Webhook | None:
    url = environ.get("CACHEWRIGHT_ALARM_WEBHOOK")
    return Webhook(url, environ.get("CACHEWRIGHT_ALARM_SECRET", "").encode()) if url else None


def _meter(environ: Mapping[str, str]) -> Any | None:
    """The process's own meter, where that is asked for. Raises `SurroundingsError` where the API is missing."""
    if environ.get("CACHEWRIGHT_OTEL") != "1":
        return None
    try:
        from opentelemetry.metrics import get_meter
    except ModuleNotFoundError:
        raise SurroundingsError(
            "opentelemetry-api is not installed", hint="pip install 'cachewright[otel]'"
        ) from None
    return get_meter("cachewright")


def settings_of(spec: CachingSpecification, plan: Plan, around: Surroundings) -> Settings:
    """The bounds and times of one process."""
    redis = spec.configuration.redis
    compression = spec.cache_strategy.compression
    defaults = Settings()
    lifetimes = [hard_limit(target.policy) for target in plan.targets.values()]
    settings = Settings(
        workers=_SEVERAL if around.workers is None else around.workers,
        journal_dir=None if around.redis_url is None else around.journal_dir or state_directory(),
        read_timeout=redis.socket_timeout_ms / 1000,
        connect_timeout=redis.socket_connect_timeout_ms / 1000,
        max_connections=redis.max_connections or defaults.max_connections,
        l1_items=spec.max_items or defaults.l1_items,
        l1_bytes=spec.max_memory_bytes or defaults.l1_bytes,
        l1_lease=plan.l1_lease,
        strict=spec.consistency.strict,
        crash_safe=spec.consistency.crash_safe,
        compression=compression.algorithm if compression.enabled else "none",
        compression_threshold=compression.threshold_bytes,
        sealing=sealing_named(around.sealing, around.keys),
        keys=around.keys,
        longest_ttl=None
        if None in lifetimes
        else max((ttl for ttl in lifetimes if ttl is not None), default=None),
    )
    return with_tiers(settings, spec, around.cache_dir)
