"""A worker that is killed after its commit and before the invalidation: as a program, and the application it runs."""

import asyncio
import os
import signal
import sys

from fastapi import FastAPI
from sqlalchemy import create_engine, insert, select
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Base, Note, User

from cachewright.integrations.commits import CommitInvalidator

NOTES = get("/users/{user}/notes", "shop_notes(user_id={path.user})", key="notes:{path.user}")


def application(path: str) -> FastAPI:
    engine = create_engine(f"sqlite:///{path}")
    app = FastAPI()

    @app.get("/users/{user}/notes")
    def notes(user: int) -> list[str]:
        with Session(engine) as session:
            return list(session.scalars(select(Note.title).where(Note.user_id == user).order_by(Note.id)))

    @app.post("/users/{user}/notes")
    def add(user: int) -> None:
        with Session(engine) as session:
            session.execute(insert(Note).values(user_id=user, title="more"))
            session.commit()

    app.state.engine = engine
    return app


def empty(path: str) -> None:
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(User(id=1, name="ann"))
        session.commit()
    engine.dispose()


def described(namespace: str, *, crash_safe: bool):
    return specification(NOTES, namespace=namespace, consistency={"crash_safe": crash_safe})


async def main(path: str, url: str, namespace: str, crash_safe: str) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    CommitInvalidator.invalidate = die
    document = described(namespace, crash_safe=crash_safe == "True")
    async with driven(application(path), document, redis_url=url) as driver:
        await driver.send("POST", "/users/1/notes")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
