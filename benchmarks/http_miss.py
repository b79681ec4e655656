"""What a miss costs: a route that takes 5 ms, with and without the cache, request by request in turn.

    python benchmarks/http_miss.py [--misses 400]

The application of `http_hit.py` sleeps 5 ms in its endpoint, under two uvicorn processes on loopback. One client asks
them in turn, each time for another page, so that every request to the cached one is a lookup, a load and a fill. The
ratio is that of the medians; the bar is 1.15.
"""

import argparse
import functools
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import http_hit

_SLOW_SECONDS = 0.005
_WARM = 20
_BAR = 1.15


def slow() -> Any:
    """The application, whose endpoint takes 5 ms longer."""

    def slowly(endpoint: Any) -> Any:
        @functools.wraps(endpoint)
        def taking(*arguments: Any, **named: Any) -> Any:
            time.sleep(_SLOW_SECONDS)
            return endpoint(*arguments, **named)

        return taking

    return http_hit.application(slowly)


def slow_cached() -> Any:
    """The same behind the cache, in memory."""
    from cachewright.integrations.install import Installed
    from cachewright.integrations.surroundings import Surroundings
    from cachewright.spec.document import loads_spec

    return Installed(slow(), loads_spec(json.dumps(http_hit.SPECIFICATION)), Surroundings(workers=1))


APPLICATIONS: dict[str, Callable[[], Any]] = {"slow": slow, "slow-cached": slow_cached}


def measure(count: int) -> None:
    """Print how long a request takes that is not cached yet, with and without the cache."""
    headers = {"Authorization": f"Bearer {http_hit.token()}"}
    took: dict[str, list[float]] = {name: [] for name in APPLICATIONS}
    with ExitStack() as stack:
        clients = {}
        for name in APPLICATIONS:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            port = stack.enter_context(http_hit.served(name, directory, __file__))
            clients[name] = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for page in range(1, count + _WARM + 1):
            for name, client in clients.items():
                began = time.perf_counter()
                client.request("GET", f"/users/7/notes?page={page}", headers=headers)
                assert client.getresponse().read()
                took[name].append(time.perf_counter() - began)
    plain, cached = (statistics.median(took[name][_WARM:]) for name in APPLICATIONS)
    print(
        f"uncached {plain * 1e3:.2f} ms   miss {cached * 1e3:.2f} ms   ratio {cached / plain:.3f} (≤ {_BAR})"
    )


def main() -> None:
    """Run the benchmark, or one of its servers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--misses", type=int, default=400)
    parser.add_argument("--serve", choices=APPLICATIONS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is None:
        measure(given.misses)
        return
    import uvicorn

    app = APPLICATIONS[given.serve]()
    uvicorn.run(app, port=given.port, log_level="error", access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
