"""Behave like a few accounts of the seeded application: `python -m documents.traffic http://127.0.0.1:8000 400`."""

import sys
from random import Random

import httpx


def run(base_url: str, requests: int) -> None:
    dice = Random(4)
    tags: dict[tuple[int, str], str] = {}
    with httpx.Client(base_url=base_url, trust_env=False, timeout=30) as client:
        for turn in range(requests):
            account = dice.choices((1, 2, 3, 4, 5), weights=(2, 3, 3, 4, 4))[0]
            own = account - 1 + 3 * dice.randrange(1, 5)  # where the account is an editor
            read = f"/documents/{dice.choice((1, 2))}"
            body = {"title": f"Title {turn}", "published": turn % 5 != 0}
            method, path, payload, expected = dice.choices(
                (
                    ("GET", "/documents", None, 200),
                    ("GET", "/documents?page=2", None, 200),
                    ("GET", "/documents/counts", None, 200),
                    ("GET", read, None, 200),
                    ("GET", "/account", None, 200),
                    ("PUT", f"/documents/{own}", body, 200 if account in (2, 3) else None),
                    ("POST", "/documents", body, 201 if account < 4 else 403),
                ),
                weights=(36, 10, 14, 20, 10, 5, 2),
            )[0]
            headers = {"X-API-Key": f"key-{account}"}
            if method == "GET" and (account, path) in tags and turn % 3 == 0:
                headers["If-None-Match"] = tags[account, path]
            if turn % 100 == 99:
                headers = {"X-API-Key": "key-1"}
                method, path, payload, expected = (
                    "PUT",
                    "/accounts/5/role",
                    {"role": ("editor", "reader")[turn // 100 % 2]},
                    200,
                )
            answer = client.request(method, path, headers=headers, json=payload)
            if expected is not None and answer.status_code not in (expected, 304):
                if method == "POST" and account == 5:
                    continue  # its role comes and goes
                raise SystemExit(f"{method} {path}: {answer.status_code}, expected {expected}")
            if method == "GET" and "etag" in answer.headers:
                tags[account, path] = answer.headers["etag"]


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
