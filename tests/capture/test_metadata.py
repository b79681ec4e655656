"""Declared tables, and classes that are mapped late."""

import pytest
from sqlalchemy import Computed, FetchedValue, ForeignKey, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from cachewright.capture.metadata import DeclaredTables


@pytest.fixture
def tables():
    tables = DeclaredTables()
    tables.open()
    yield tables
    tables.close()


def test_a_class_that_is_mapped_late_is_known_at_once(tables):
    class Base(DeclarativeBase):
        pass

    before = tables()
    assert tables() is before, "nothing is looked up again"
    assert "late_parents" not in before.columns

    class Parent(Base):
        __tablename__ = "late_parents"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert tables().columns["late_parents"] == ("id",)

    class Child(Base):
        __tablename__ = "late_children"
        id: Mapped[int] = mapped_column(primary_key=True)
        parent_id: Mapped[int] = mapped_column(ForeignKey("late_parents.id", ondelete="CASCADE"))

    assert isinstance(Child.__table__, Table)
    assert ("late_children", "late_parents") in {(r.table, r.target) for r in tables().references}


def test_closed_it_looks_each_time(tables):
    tables.close()
    assert tables() is not tables()
    tables.open()
    assert tables() is tables()


def test_columns_that_statements_do_not_tell_are_inexact(tables):
    class Base(DeclarativeBase):
        pass

    class Price(Base):
        __tablename__ = "told_prices"
        id: Mapped[int] = mapped_column(primary_key=True)
        net: Mapped[int]
        gross: Mapped[int] = mapped_column(Computed("net * 2"))
        touched: Mapped[int] = mapped_column(server_onupdate=FetchedValue())
        one: Mapped[int] = mapped_column("Kind")
        other: Mapped[int] = mapped_column("kind")

    assert {column for table, column in tables().inexact if table == "told_prices"} == {
        "gross",
        "touched",
        "kind",
    }


def test_what_follows_a_new_key_is_told(tables):
    class Base(DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "moved_parents"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Child(Base):
        __tablename__ = "moved_children"
        id: Mapped[int] = mapped_column(primary_key=True)
        parent_id: Mapped[int] = mapped_column(ForeignKey("moved_parents.id", onupdate="cascade"))

    assert [(r.on_delete, r.on_update) for r in tables().references if r.table == "moved_children"] == [
        ("", "CASCADE")
    ]
