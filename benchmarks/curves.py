"""How fast a replay with lives, changes and sizes is beside a plain LRU of ten lines, and how far samples err.

    python benchmarks/curves.py [ACCESSES.xz ...]

Without arguments a made-up Zipf trace is used. A file holds 32-bit big-endian keys, one an access (the format of
the traces of databases that cache libraries publish); it has no times, so accesses come a millisecond apart.
"""

import lzma
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from cachewright.simulator.curves import thinned, ttl_curve
from cachewright.simulator.eviction import estimate, hits
from cachewright.simulator.stream import Stream, stream

_MOST = 1_000_000
_MILLISECOND = 1_000_000


def zipf(number: int = _MOST, keys: int = 100_000) -> list[int]:
    """Accesses of a Zipf popularity."""
    dice = Random(1)  # noqa: S311 - traffic, no secrets
    return dice.choices(
        range(keys), cum_weights=list(accumulate(1 / rank for rank in range(1, keys + 1))), k=number
    )


def accesses(path: Path) -> list[int]:
    """The first accesses of a file."""
    with lzma.open(path) as file:
        keys = np.frombuffer(file.read(4 * _MOST), dtype=">i4")
    found: list[int] = np.unique(keys, return_inverse=True)[1].tolist()
    return found


def plain_lru(keys: list[int], size: int) -> int:
    """What a replay is compared with: no sizes, no lives, no changes."""
    cache: OrderedDict[int, None] = OrderedDict()
    found = 0
    for key in keys:
        if key in cache:
            cache.move_to_end(key)
            found += 1
        else:
            cache[key] = None
            if len(cache) > size:
                cache.popitem(last=False)
    return found


def timed(work: Callable[[], Any], repeat: int = 3) -> tuple[float, Any]:
    """The best time in seconds, and the result."""
    best = float("inf")
    for _ in range(repeat):
        began = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - began)
    return best, result


def measure(name: str, keys: list[int]) -> None:
    """Print the ratios and the errors for one trace."""
    size = max(10, len(set(keys)) // 10)
    reads = stream(range(0, len(keys) * _MILLISECOND, _MILLISECOND), keys)
    plain, found = timed(lambda: plain_lru(keys, size))
    exact, same = timed(lambda: hits(reads, "lru", size))
    assert int(same.sum()) == found, "the two replays disagree"
    lived, _ = timed(lambda: hits(reads, "lru", size, reads.span / 2e9))
    rate = found / len(keys)
    print(f"{name}: {len(keys):,} accesses, {len(set(keys)):,} keys, room for {size:,}: hit rate {rate:.4f}")
    print(f"  plain LRU {len(keys) / plain / 1e6:.2f} M/s; exact replay {plain / exact:.2f} ×, ", end="")
    print(f"with lives {plain / lived:.2f} ×")
    for share in (0.1, 0.05):
        took, _ = timed(partial(estimate, reads, "lru", size, seeds=1, share=share))
        spread = estimate(reads, "lru", size, share=share)
        print(f"  sampled at {share:.0%}: {plain / took:.1f} ×, ", end="")
        print(f"off by {abs(spread.middle - rate) * 100:.2f} points, ", end="")
        print(f"range {spread.low:.4f} to {spread.high:.4f}")
    print(f"  hits over life: worst error at 10 % in 4 samples {_worst(reads) * 100:.2f} points")


def _worst(reads: Stream) -> float:
    lives = [float(life) for life in np.geomspace(1, max(2, reads.span / 1e9), 12)]
    whole = np.array(ttl_curve(reads, lives, hold_out=False).hits)
    parts = [ttl_curve(thinned(reads, 0.1, seed=seed), lives, hold_out=False).hits for seed in range(4)]
    return float(max(np.abs(np.array(part) - whole).max() for part in parts))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        for argument in sys.argv[1:]:
            measure(argument, accesses(Path(argument)))
    else:
        measure("Zipf", zipf())
