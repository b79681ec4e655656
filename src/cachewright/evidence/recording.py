"""What the processes of one recording share, so that their files can become one trace."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

KEY_BYTES = 32
_ID_BYTES = 8
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE = "/proc/self/ns/time"


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording, in as many processes and files as it takes.

    `key` makes its hashes: it goes from process to process through pipes and is never written. `clock` names
    the clock its times are of.
    """

    id: str
    key: bytes = field(repr=False)
    clock: str

    @classmethod
    def begin(cls, randomness: Callable[[int], bytes] = os.urandom, *, key: bytes | None = None) -> Recording:
        """A new recording on this host, with a random key unless one is given."""
        number = randomness(_ID_BYTES).hex()
        return cls(number, key or randomness(KEY_BYTES), clock_of_this_boot() or f"of:{number}")

    def to_json(self) -> str:
        """All of it, the key too: for a pipe."""
        return json.dumps({"id": self.id, "key": self.key.hex(), "clock": self.clock})

    @classmethod
    def from_json(cls, text: str) -> Recording:
        """The inverse of `to_json`."""
        told = json.loads(text)
        return cls(told["id"], bytes.fromhex(told["key"]), told["clock"])


def clock_of_this_boot() -> str:
    """A name for the monotonic clock of all processes here; empty where no two of them are known to share one.

    On Linux `CLOCK_MONOTONIC` counts from the boot of the host, unless a time namespace moves it (clock_gettime(2),
    time_namespaces(7)); the name changes with each boot, and does not tell the host.
    """
    try:
        boot = _BOOT.read_text(encoding="ascii")
    except OSError:
        return ""
    try:
        namespace = os.readlink(_TIME_NAMESPACE)  # noqa: PTH115 - it leads to no path
    except OSError:  # a kernel before 5.6 has none
        namespace = ""
    return hashlib.blake2b(f"{boot}{namespace}".encode(), digest_size=_ID_BYTES).hexdigest()
