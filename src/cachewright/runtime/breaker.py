"""A circuit breaker as a plain state machine: no clock, no waiting; the store asks and reports."""

from __future__ import annotations

from collections import deque


class Breaker:
    """Closed it lets everything through; open nothing, until one probe may try.

    It opens at `consecutive` failures in a row, or where of at least `volume` outcomes within `window`
    seconds the `share` failed. It then sleeps `sleep` seconds, twice as long after every failed probe,
    `longest_sleep` at most. The bounds of volume and share are those of Hystrix. `now` is any clock that
    never goes back (s).
    """

    def __init__(
        self,
        *,
        consecutive: int = 5,
        share: float = 0.5,
        volume: int = 20,
        window: float = 10.0,
        sleep: float = 1.0,
        longest_sleep: float = 10.0,
    ) -> None:
        self._consecutive = consecutive
        self._share = share
        self._volume = volume
        self._window = window
        self._shortest_sleep = sleep
        self._longest_sleep = longest_sleep
        self._sleep = sleep
        self._row = 0
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=1000)
        self._bad = 0
        self._until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether it is open, a probe under way included."""
        return self._until is not None

    def admits(self, now: float) -> bool:
        """Whether `enter` would let a call through; changes nothing."""
        return self._until is None or (now >= self._until and not self._probing)

    def enter(self, now: float) -> bool:
        """Whether a call may be made; the first one after the sleep is the probe, and goes alone."""
        if not self.admits(now):
            return False
        self._probing = self._until is not None
        return True

    def succeeded(self, now: float) -> None:
        """A call was answered: closes an open breaker."""
        self._row = 0
        if self._until is not None:
            self._close()
        self._note(now, failed=False)

    def failed(self, now: float) -> None:
        """A call was not answered in time, or refused."""
        if self._until is not None:
            if self._probing:
                self._sleep = min(self._sleep * 2, self._longest_sleep)
                self._open(now)
            return
        self._row += 1
        self._note(now, failed=True)
        total = len(self._outcomes)
        if self._row >= self._consecutive or (total >= self._volume and self._bad >= total * self._share):
            self._open(now)

    def abandoned(self) -> None:
        """A call ended without an outcome: the next one may probe."""
        self._probing = False

    def _open(self, now: float) -> None:
        self._until = now + self._sleep
        self._probing = False

    def _close(self) -> None:
        self._until = None
        self._probing = False
        self._sleep = self._shortest_sleep
        self._outcomes.clear()
        self._bad = 0

    def _note(self, now: float, *, failed: bool) -> None:
        outcomes = self._outcomes
        while outcomes and (outcomes[0][0] <= now - self._window or len(outcomes) == outcomes.maxlen):
            self._bad -= outcomes.popleft()[1]
        outcomes.append((now, failed))
        self._bad += failed
