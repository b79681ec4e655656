"""The hours of the day, in recordings that saw each of them twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cachewright.evidence.trace import RequestSeen, Trace

_DAYS = 2 * 86_400_000_000_000


class Hours:
    """The hour of the day (UTC) of a request; -1 where the recording is too short to tell hours apart."""

    def __init__(self, trace: Trace) -> None:
        started = [request.started for request in trace.requests]
        self._first = min(started, default=0)
        self.span = max(started, default=0) - self._first
        long_enough = self.span >= _DAYS and "times" not in trace.unknown
        self._began = datetime.fromisoformat(trace.recorded_at) if long_enough else None

    def __call__(self, request: RequestSeen) -> int:
        """The hour."""
        if self._began is None:
            return -1
        since = timedelta(microseconds=(request.started - self._first) // 1000)
        return (self._began + since).astimezone(UTC).hour
