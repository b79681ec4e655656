"""Fill a database with deterministic data: `python -m notes.seed` (NOTES_DATABASE_URL says where)."""

import asyncio

from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from .main import engine
from .models import Note, User

PASSWORD = "correct horse"  # noqa: S105  everybody's, in made-up data
USERS = 6
NOTES = 240


async def seed() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    async with AsyncSession(engine) as session:
        for number in range(1, USERS + 1):
            session.add(User(id=number, email=f"user{number}@notes.example", password=PASSWORD))
        await session.flush()
        for number in range(1, NOTES + 1):
            owner = number % USERS + 1
            session.add(Note(id=number, owner_id=owner, title=f"Note {number}", text="Lorem ipsum. " * 8))
        await session.commit()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(seed())
