"""Behave like a few users of the seeded application: `python -m notes.traffic http://127.0.0.1:8000 400`."""

import sys
from random import Random

import httpx

USERS, NOTES, PASSWORD = 6, 240, "correct horse"


def headers_of(client: httpx.Client, user: int) -> dict[str, str]:
    """Log in, and return what every request of this user carries."""
    form = {"username": f"user{user}@notes.example", "password": PASSWORD}
    answer = client.post("/api/v1/login", data=form).raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def run(base_url: str, requests: int) -> None:
    dice = Random(3)
    own = {
        user: [note for note in range(1, NOTES + 1) if note % USERS + 1 == user]
        for user in range(1, USERS + 1)
    }
    with httpx.Client(base_url=base_url, trust_env=False, timeout=30) as client:
        sessions = [
            (user, headers_of(client, user)) for user in (*own, 1, 2)
        ]  # two users have a second session
        for turn in range(requests):
            user, headers = dice.choice(sessions)
            note = f"/api/v1/notes/{dice.choice(own[user][:3])}"
            body = {"title": f"Title {turn}"}
            method, path, payload, expected = dice.choices(
                (
                    ("GET", "/api/v1/notes", None, 200),
                    ("GET", "/api/v1/notes?skip=20&limit=20", None, 200),
                    ("GET", "/api/v1/notes?limit=5", None, 200),
                    ("GET", note, None, 200),
                    ("GET", "/api/v1/me", None, 200),
                    ("GET", f"/api/v1/notes/{own[user % USERS + 1][0]}", None, 404),
                    ("PATCH", note, body, 200),
                    ("POST", "/api/v1/notes", body, 201),
                ),
                weights=(40, 12, 8, 22, 10, 2, 4, 2),
            )[0]
            if turn % 60 == 59:
                method, path, payload, expected = "DELETE", f"/api/v1/notes/{own[user].pop()}", None, 204
            answer = client.request(method, path, headers=headers, json=payload)
            if answer.status_code != expected:
                raise SystemExit(f"{method} {path}: {answer.status_code}, expected {expected}")


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
