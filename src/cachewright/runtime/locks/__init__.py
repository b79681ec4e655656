"""Locks between processes: who may do a costly thing now. What they are good for: docs/explanation/locks.md.

A lock can be lost without its holder noticing in time (a pause, a failover), so each acquisition has a fence, a
number that only rises, and whatever must not be done twice compares it. The cache itself uses no lock.
"""

from cachewright.runtime.locks.lock import Lock
from cachewright.runtime.locks.redlock import RedLock
from cachewright.runtime.locks.single import LockServer

__all__ = ["Lock", "LockServer", "RedLock"]
