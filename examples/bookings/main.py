"""Bookings: the subdomain is the tenant, row-level security keeps tenants apart, the SQL is hand-written."""

import os
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlalchemy import Connection, create_engine, text

engine = create_engine(
    os.environ.get("BOOKINGS_DATABASE_URL", "postgresql+psycopg://bookings_app@localhost/bookings")
)
bearer = HTTPBearer()


def tenant(request: Request) -> str:
    """`acme` of `acme.bookings.example`."""
    name, dot, _ = (request.url.hostname or "").partition(".")
    if not dot:
        raise HTTPException(404, "There is no such site.")
    return name


def connection(site: Annotated[str, Depends(tenant)]) -> Iterator[Connection]:
    """A transaction that sees the rows of its tenant alone."""
    with engine.begin() as opened:
        opened.execute(text("SELECT set_config('app.tenant', :tenant, true)"), {"tenant": site})
        yield opened


Db = Annotated[Connection, Depends(connection, scope="function")]


def member(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)], db: Db) -> int:
    found = db.execute(
        text("SELECT id FROM members WHERE token = :token"), {"token": credentials.credentials}
    )
    number = found.scalar_one_or_none()
    if number is None:
        raise HTTPException(403, "You are no member here.")
    return int(number)


Member = Annotated[int, Depends(member)]


class Booking(BaseModel):
    room_id: int
    day: date
    hour: int


router = APIRouter()


@router.get("/rooms")
def rooms(db: Db, _member: Member) -> list[dict[str, Any]]:
    found = db.execute(
        text("""
            SELECT rooms.id, rooms.name, rooms.seats, count(bookings.id) AS bookings
            FROM rooms LEFT JOIN bookings ON bookings.room_id = rooms.id
            GROUP BY rooms.id ORDER BY rooms.name
        """)
    )
    return [dict(row) for row in found.mappings()]


@router.get("/rooms/{room_id}/bookings")
def bookings_of_room(room_id: int, db: Db, _member: Member, day: date | None = None) -> list[dict[str, Any]]:
    found = db.execute(
        text("""
            SELECT bookings.id, bookings.day, bookings.hour, members.name AS member
            FROM bookings JOIN members ON members.id = bookings.member_id
            WHERE bookings.room_id = :room AND (CAST(:day AS date) IS NULL OR bookings.day = :day)
            ORDER BY bookings.day, bookings.hour
        """),
        {"room": room_id, "day": day},
    )
    return [dict(row) for row in found.mappings()]


@router.get("/bookings")
def my_bookings(db: Db, who: Member) -> list[dict[str, Any]]:
    found = db.execute(
        text("SELECT id, room_id, day, hour FROM bookings WHERE member_id = :who ORDER BY day, hour, id"),
        {"who": who},
    )
    return [dict(row) for row in found.mappings()]


@router.post("/bookings", status_code=201)
def book(body: Booking, db: Db, who: Member) -> dict[str, int]:
    room = db.execute(text("SELECT id FROM rooms WHERE id = :room"), {"room": body.room_id})
    if room.first() is None:
        raise HTTPException(404, "There is no such room.")
    found = db.execute(
        text("""
            INSERT INTO bookings (tenant, room_id, member_id, day, hour)
            VALUES (current_setting('app.tenant'), :room, :who, :day, :hour)
            ON CONFLICT DO NOTHING RETURNING id
        """),
        {"room": body.room_id, "who": who, "day": body.day, "hour": body.hour},
    )
    number = found.scalar_one_or_none()
    if number is None:
        raise HTTPException(409, "It is taken.")
    return {"id": number}


@router.delete("/bookings/{booking_id}", status_code=204)
def cancel(booking_id: int, db: Db, who: Member) -> None:
    gone = db.execute(
        text("DELETE FROM bookings WHERE id = :id AND member_id = :who"), {"id": booking_id, "who": who}
    )
    if not gone.rowcount:
        raise HTTPException(404, "There is no such booking of yours.")


app = FastAPI(title="Bookings")
app.include_router(router)
