"""Declared tables, and classes that are mapped late."""

import pytest
from sqlalchemy import ForeignKey, Table
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
