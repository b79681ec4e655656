"""Create the tables and fill them, as their owner: `python -m bookings.seed postgresql+psycopg://postgres@localhost/bookings`.

The role `bookings_app`, whom the policies are for, is made where it is missing.
"""

import sys
from pathlib import Path

from sqlalchemy import create_engine, text

TENANTS = ("acme", "bolt", "cora")
ROLE = """DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bookings_app') THEN CREATE ROLE bookings_app LOGIN; END IF;
END $$"""


def seed(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as db:
        db.exec_driver_sql(ROLE)
        for statement in (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8").split(";\n"):
            db.exec_driver_sql(statement)
        for number, tenant in enumerate(TENANTS):
            for place in range(1, 9):
                room = {
                    "id": number * 100 + place,
                    "tenant": tenant,
                    "name": f"Room {place}",
                    "seats": 2 * place,
                }
                db.execute(text("INSERT INTO rooms VALUES (:id, :tenant, :name, :seats)"), room)
            for person in range(1, 4):
                row = {"id": number * 100 + person, "tenant": tenant, "name": f"Member {person}"}
                token = f"{tenant}-{person}"
                db.execute(
                    text("INSERT INTO members VALUES (:id, :tenant, :name, :token)"), {**row, "token": token}
                )
            db.execute(
                text("""
                    INSERT INTO bookings (tenant, room_id, member_id, day, hour)
                    SELECT :tenant, :base + n % 8 + 1, :base + n % 3 + 1, DATE '2030-01-01' + n / 40, n % 40 / 4 + 8
                    FROM generate_series(1, 300) n ON CONFLICT DO NOTHING
                """),
                {"tenant": tenant, "base": number * 100},
            )
    engine.dispose()


if __name__ == "__main__":
    seed(sys.argv[1])
