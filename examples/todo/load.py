"""Behave like many users of the seeded application, over real HTTP, the same way every time.

`python load.py --base-url http://127.0.0.1:8000 --requests 3000 --users 24 --seed 7 --out results.json`
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from dataset import DEFAULT_SEED, Dataset, describe
from visitors import LOGIN, Step, Visitor, scripts

PROBLEMS_SHOWN = 10


@dataclass(slots=True)
class LoadResult:
    """What was measured: (route, method, status, milliseconds); `problems` says what went wrong."""

    requests: list[tuple[str, str, int, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def errors(self) -> int:
        return len(self.problems)


async def run(
    base_url: str,
    *,
    requests: int,
    users: int,
    seed: int,
    on_progress: Callable[[int], None] | None = None,
    data: Dataset | None = None,
    concurrency: int | None = None,
) -> LoadResult:
    """Send `requests` requests (fewer only after an error) as `users` virtual users; return what was seen.

    `data` is the data set that the database was seeded with (the default one when not given), `concurrency`
    the most requests that are out at once (as many as users when not given); `on_progress` is told, after
    each request, how many are done.
    """
    result = LoadResult()
    gate = asyncio.Semaphore(concurrency or max(users, 1))
    plan = scripts(data or describe(), users=users, requests=requests, seed=seed)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(base_url, connector=connector) as client, asyncio.TaskGroup() as group:
        for visitor, steps in plan:
            visit = Visit(client, visitor, gate, result, on_progress)
            group.create_task(visit.follow(steps))
    return result


@dataclass(slots=True)
class Visit:
    """One virtual user at work."""

    client: aiohttp.ClientSession
    visitor: Visitor
    gate: asyncio.Semaphore
    result: LoadResult
    on_progress: Callable[[int], None] | None
    headers: dict[str, str] = field(default_factory=dict)

    async def follow(self, steps: Sequence[Step]) -> None:
        """Follow a script to its end, or to a failed login or connection."""
        for step in steps:
            await asyncio.sleep(step.think)
            if not await self._take(step):
                return
            if self.on_progress is not None:
                self.on_progress(len(self.result.requests))

    async def _take(self, step: Step) -> bool:
        """Send one request, note what came of it, and say whether the visit can go on."""
        async with self.gate:
            started = time.perf_counter()
            try:
                status, payload = await _send(self.client, step, self.headers)
            except (aiohttp.ClientError, TimeoutError) as error:
                self._note(step, f"{type(error).__name__}: {error}")
                return False
            elapsed = (time.perf_counter() - started) * 1000
        self.result.requests.append((step.route, step.method, status, round(elapsed, 3)))
        if status != step.expected:
            self._note(step, f"{status}, expected {step.expected}")
            return step.route != LOGIN
        if step.route == LOGIN:
            self.headers["Authorization"] = f"Bearer {json.loads(payload)['access_token']}"
        return True

    def _note(self, step: Step, problem: str) -> None:
        self.result.problems.append(f"{step.method} {step.path} (user {self.visitor.number}): {problem}")


async def _send(client: aiohttp.ClientSession, step: Step, headers: Mapping[str, str]) -> tuple[int, bytes]:
    content: dict[str, Any] = {"data": step.body} if step.route == LOGIN else {"json": step.body}
    async with client.request(
        step.method, step.path, params=step.query, headers=headers, **(content if step.body else {})
    ) as response:
        return response.status, await response.read()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base-url", default="http://127.0.0.1:8000")
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--users", type=int, default=24)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--concurrency", type=int, help="most requests out at once (default: as many as users)"
    )
    parser.add_argument("--data-seed", type=int, default=DEFAULT_SEED, help="as given to seed.py")
    parser.add_argument("--scale", type=float, default=1.0, help="as given to seed.py")
    parser.add_argument("--out", type=Path, help="where to write the measurements (default: stdout)")
    arguments = parser.parse_args()
    result = asyncio.run(
        run(
            arguments.base_url,
            requests=arguments.requests,
            users=arguments.users,
            seed=arguments.seed,
            data=describe(arguments.data_seed, arguments.scale),
            concurrency=arguments.concurrency,
        )
    )
    document = json.dumps({"requests": result.requests, "errors": result.errors})
    if arguments.out is None:
        sys.stdout.write(f"{document}\n")
    else:
        arguments.out.write_text(document)
    for problem in result.problems[:PROBLEMS_SHOWN]:
        sys.stderr.write(f"unexpected: {problem}\n")
    sys.stderr.write(f"{len(result.requests)} requests, {result.errors} unexpected\n")
    return 1 if result.problems or len(result.requests) < arguments.requests else 0


if __name__ == "__main__":
    sys.exit(main())
