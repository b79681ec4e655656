"""Behave like members of three tenants: `python -m bookings.traffic http://127.0.0.1:8000 400`."""

import sys
from random import Random

import httpx

TENANTS = ("acme", "bolt", "cora")


def run(base_url: str, requests: int) -> None:
    dice = Random(5)
    booked: dict[str, list[int]] = {}
    with httpx.Client(base_url=base_url, trust_env=False, timeout=30) as client:
        for turn in range(requests):
            tenant = dice.choices(TENANTS, weights=(4, 3, 2))[0]
            who = f"{tenant}-{dice.randrange(1, 4)}"
            room = TENANTS.index(tenant) * 100 + dice.randrange(1, 4)
            day = f"2031-0{dice.randrange(1, 9)}-11"
            method, path, body, expected = dice.choices(
                (
                    ("GET", "/rooms", None, (200,)),
                    ("GET", f"/rooms/{room}/bookings", None, (200,)),
                    ("GET", f"/rooms/{room}/bookings?day=2030-01-02", None, (200,)),
                    ("GET", "/bookings", None, (200,)),
                    (
                        "POST",
                        "/bookings",
                        {"room_id": room, "day": day, "hour": dice.randrange(8, 18)},
                        (201, 409),
                    ),
                ),
                weights=(34, 26, 10, 27, 3),
            )[0]
            if turn % 40 == 39 and booked.get(who):
                method, path, body, expected = "DELETE", f"/bookings/{booked[who].pop()}", None, (204,)
            headers = {"Host": f"{tenant}.bookings.example", "Authorization": f"Bearer {who}"}
            answer = client.request(method, path, headers=headers, json=body)
            if answer.status_code not in expected:
                raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text}, expected {expected}")
            if answer.status_code == 201:
                booked.setdefault(who, []).append(answer.json()["id"])


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
