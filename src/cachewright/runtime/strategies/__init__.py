from cachewright.runtime.strategies.pending import Backlog
from cachewright.runtime.strategies.plans import CacheAside, CacheThrough, Plan, WriteBack, WriteThrough
from cachewright.runtime.strategies.resource import Resource
from cachewright.runtime.strategies.source import Versioning
from cachewright.runtime.strategies.through import Written
from cachewright.runtime.strategies.versions import LocalVersions, SharedVersions, Versions

__all__ = [
    "Backlog",
    "CacheAside",
    "CacheThrough",
    "LocalVersions",
    "Plan",
    "Resource",
    "SharedVersions",
    "Versioning",
    "Versions",
    "WriteBack",
    "WriteThrough",
    "Written",
]
