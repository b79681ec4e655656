"""Where a recording writes: its files, and what they say of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cachewright.capture.context import Clock
from cachewright.evidence.hashing import Hasher
from cachewright.evidence.parts import part_path, parts_text
from cachewright.evidence.recording import Recording
from cachewright.evidence.tracefile import create_trace
from cachewright.evidence.tracerows import Rows, meta_of


class Files:
    """The file a worker writes, among those of its recording."""

    def __init__(self, out: Path, worker: int, recording: str, number: int = 0) -> None:
        self._out, self._worker, self._recording, self._number = out, worker, recording, number
        self.path = part_path(out, worker, number)
        self.meta = {"parts": parts_text([(recording, worker, number)])}

    def following(self) -> Files:
        """The one after it."""
        return Files(self._out, self._worker, self._recording, self._number + 1)


def facts_of(
    application: str,
    declared_identity: Mapping[str, str],
    recording: Recording,
    *,
    now: float,
    zero: float,
    sample: float,
) -> dict[str, str]:
    """What a trace says of its recording; `now` is the wall time, `zero` that at which its clock stood at zero (s)."""
    return meta_of(application, datetime.fromtimestamp(now, UTC).isoformat(), declared_identity) | {
        "sampled": repr(float(sample)),
        "clock": recording.clock,
        "wall_at_zero": repr(zero),
        "key_check": Hasher(recording.key).check(),
    }


def claim(
    out: Path,
    application: str,
    declared_identity: Mapping[str, str],
    recording: Recording,
    *,
    clock: Clock,
    wall: Callable[[], float] = time.time,
    sample: float = 1.0,
    overwrite: bool = False,
) -> None:
    """Leave an empty trace in `out`, beside which the workers of a recording write theirs.

    Raises `EvidenceError` where the trace cannot be written.
    """
    now = wall()
    zero = now - clock() / 1e9
    meta = facts_of(application, declared_identity, recording, now=now, zero=zero, sample=sample)
    Rows(create_trace(out, meta | Files(out, 0, recording.id).meta, overwrite=overwrite)).close()
