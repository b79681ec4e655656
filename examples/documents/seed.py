"""Fill a database with deterministic data: `python -m documents.seed` (DOCUMENTS_DATABASE_URL says where)."""

from sqlalchemy.orm import Session

from .main import engine
from .models import Account, ApiKey, Base, Document, Role

ROLES = {1: Role.ADMIN, 2: Role.EDITOR, 3: Role.EDITOR, 4: Role.READER, 5: Role.READER}
DOCUMENTS = 150


def seed() -> None:
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Account(id=id_, name=f"{role} {id_}", role=role) for id_, role in ROLES.items())
        session.flush()
        session.add_all(ApiKey(key=f"key-{id_}", account_id=id_) for id_ in ROLES)
        session.add_all(
            Document(
                id=number,
                author_id=number % 3 + 1,
                title=f"Document {number}",
                text="Lorem ipsum. " * 10,
                published=number % 4 != 0,
            )
            for number in range(1, DOCUMENTS + 1)
        )
        session.commit()
    engine.dispose()


if __name__ == "__main__":
    seed()
