"""How long it takes to design from a large recording, and how much memory: a made-up recording of any length.

    python benchmarks/large_traces.py [--requests 1000000] [--keep FILE]

A shop: products of a Zipf popularity that anybody may see, orders and carts of 20,000 users, a front page with a
tenth of all requests, 4 % writes. Answers change exactly with what was written. The design runs in a process of its
own, whose time and peak memory are printed; the made-up recording goes into a temporary directory.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from bisect import bisect
from itertools import accumulate
from pathlib import Path
from random import Random

from cachewright.evidence.trace import (
    ParamSeen,
    RequestSeen,
    RouteSeen,
    SchemaSeen,
    StatementSeen,
    StatementText,
    TransactionSeen,
    Value,
)
from cachewright.evidence.tracefile import create_trace
from cachewright.evidence.tracerows import Rows, meta_of

USERS, PRODUCTS = 20_000, 50_000
AUTHORIZATION = ("header:authorization",)
SCHEMA = SchemaSeen(
    tables={
        "products": ("id", "title", "price"),
        "orders": ("id", "user_id", "total"),
        "users": ("id", "name"),
    },
    primary_keys={"products": ("id",), "orders": ("id",), "users": ("id",)},
)
TEXTS = (
    "SELECT products.id, products.title FROM products WHERE products.id = ?",
    "SELECT products.id FROM products ORDER BY products.price LIMIT 20",
    "SELECT orders.id, orders.total FROM orders WHERE orders.user_id = ?",
    "SELECT users.id, users.name FROM users WHERE users.id = ?",
    "INSERT INTO orders (user_id, total) VALUES (?, ?)",
    "UPDATE products SET price=? WHERE products.id = ?",
)
ROUTES = (
    RouteSeen(
        1, "GET", "/products/{id}", "shop.product", (ParamSeen("id", "path", "int", required=True),), ()
    ),
    RouteSeen(2, "GET", "/", "shop.front", (), ()),
    RouteSeen(3, "GET", "/orders", "shop.orders", (), AUTHORIZATION),
    RouteSeen(4, "GET", "/me", "shop.me", (), AUTHORIZATION),
    RouteSeen(5, "POST", "/orders", "shop.order", (), AUTHORIZATION),
    RouteSeen(
        6,
        "PUT",
        "/products/{id}",
        "shop.price",
        (ParamSeen("id", "path", "int", required=True),),
        AUTHORIZATION,
    ),
)
_WEIGHTS = list(accumulate((46, 10, 25, 15, 3, 1)))
_TEXT_OF = {1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5}


def _value(number: int, kind: str = "i") -> Value:
    return Value(kind, f"h{number:016x}", f"h{number:016x}")


class Shop:
    """Requests one after the other, as rows of a trace."""

    def __init__(self, rows: Rows, seed: int) -> None:
        self.rows, self.dice = rows, Random(seed)  # noqa: S311 - traffic, no secrets
        self.popular = list(accumulate(1 / (rank + 1) for rank in range(PRODUCTS)))
        self.values: dict[int, Value] = {}
        self.prices: dict[int, int] = {}
        self.orders: dict[int, int] = {}
        self.everything = 0
        self.now = 1_000_000_000

    def value(self, number: int) -> Value:
        """One object for each value."""
        found = self.values.get(number)
        if found is None:
            found = self.values[number] = _value(number)
        return found

    def add(self, number: int) -> None:
        """One request, with its statement and its transaction."""
        dice = self.dice
        self.now += dice.randrange(100_000, 1_000_000)
        at = self.now
        route = bisect(_WEIGHTS, dice.random() * _WEIGHTS[-1]) + 1
        user = dice.randrange(USERS)
        product = bisect(self.popular, dice.random() * self.popular[-1]) + USERS
        subject = {1: product, 6: product, 2: None}.get(route, user)
        values: dict[str, Value] = {}
        if route in (1, 6):
            values["path.id"] = self.value(product)
        credential = None
        if route not in (1, 2):
            values["claim.sub"] = self.value(user)
            credential = f"h{user + 10**9:016x}"
        if route == 5:
            self.orders[user] = self.orders.get(user, 0) + 1
        elif route == 6:
            self.prices[product] = self.prices.get(product, 0) + 1
            self.everything += 1
        state = (
            {1: self.prices, 3: self.orders}.get(route, {}).get(subject, 0) if subject else self.everything
        )
        took = dice.randrange(2_000_000, 8_000_000)
        self.now += took
        binds = {"0": self.value(number % 997)} if route in (5, 6) else {}
        if route == 5:
            binds = {"0": self.value(user), "1": self.value(number % 997)}
        elif subject is not None:
            binds[str(len(binds))] = self.value(subject)
        self.rows.add(
            StatementSeen(
                number, number, number, _TEXT_OF[route] + 1, at + 400_000, at + took - 400_000, 1, 1,
                unit_of_work=False, failed=False, binds=binds,
            )
        )  # fmt: skip
        writes = route in (5, 6)
        self.rows.add(
            TransactionSeen(
                number, number, at + 300_000, at + took - 300_000, at + took - 200_000, committed=writes
            )
        )
        self.rows.add(
            RequestSeen(
                id=number, route=route, method=ROUTES[route - 1].method, started=at, answered=at + took,
                returned=at + took, status=200, size=400 + 37 * (subject or 0) % 4_000,
                digest=f"h{((route * 1_000_003 + (subject or 0)) * 1_000_033 + state) & (2**64 - 1):016x}",
                credential=credential,
                credential_expires=None, values=values,
                reads=frozenset(AUTHORIZATION if credential else ()), outer_reads=frozenset(),
                entered=at + 100_000, set_cookie=False, cache_control=frozenset(), streamed=False,
                background=False, escaped=False, worker=1,
                carrier="header:authorization" if credential else None,
            )
        )  # fmt: skip


def write(path: Path, requests: int, seed: int = 1) -> None:
    """Write a recording of this many requests."""
    rows = Rows(create_trace(path, meta_of("shop.main:app", "2026-01-02T03:04:05+00:00", {}), overwrite=True))
    rows.add(SCHEMA)
    for route in ROUTES:
        rows.add(route)
    for number, sql in enumerate(TEXTS, start=1):
        rows.add(StatementText(number, sql, "sqlite", "qmark"))
    shop = Shop(rows, seed)
    for number in range(1, requests + 1):
        shop.add(number)
        if rows.held >= 20_000:
            rows.commit()
    rows.commit()
    rows.close()


def main() -> None:
    """Make a recording, design from it in another process, and print what that took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="where the recording is written, or is already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = arguments.keep or Path(directory, "shop.trace")
        if not path.exists():
            write(path, arguments.requests)
        began = time.perf_counter()
        output = Path(directory, "caching.yaml")
        command = [sys.executable, "-m", "cachewright", "design", str(path), "-o", str(output)]
        subprocess.run(command, check=True)  # noqa: S603 - our own command
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"design of {arguments.requests:,} requests: {seconds:.1f} s, {peak:,.0f} MiB at its peak")


if __name__ == "__main__":
    main()
