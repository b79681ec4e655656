"""What a database's catalogue adds to statements, told from the words of its definitions."""

import sqlite3

import pytest

from cachewright.capture.catalogue import read_catalogue
from cachewright.sql.catalogue import Catalogue, Relation, Routine, Surmise, Trigger

TABLES = tuple(Relation(name) for name in ("orders", "totals", "log", "customers"))


def routine(name, body, **options):
    return Routine(name, body, language=options.pop("language", "plpgsql"), **options)


@pytest.mark.parametrize(
    ("body", "options", "changed"),
    [
        ("BEGIN UPDATE totals SET n = n + 1; END", {}, {"totals"}),
        ("BEGIN RETURN lower(x); END", {}, set()),
        ("SELECT n FROM totals", {"language": "sql"}, set()),
        ("SELECT n FROM totals", {"writes": False}, set()),
        ("BEGIN INSERT INTO log SELECT * FROM orders; END", {}, {"log", "orders"}),
        ("BEGIN EXECUTE 'DELETE FROM ' || t; END", {}, None),
        ("whatever", {"language": "plpython3u"}, None),
        ("whatever", {"language": "c", "shipped": True}, set()),
        ("BEGIN PERFORM deeper(); END", {}, {"log"}),
        ("BEGIN PERFORM itself(); UPDATE totals SET n = 1; END", {}, {"totals"}),
    ],
)
def test_a_routine_changes_what_it_mentions(body, options, changed):
    routines = (routine("itself", body, **options), routine("deeper", "BEGIN DELETE FROM log; END"))
    surmise = Surmise(Catalogue(TABLES, routines, dialect="postgresql"))
    assert surmise.called("app.itself") == changed


def test_a_name_that_nobody_knows_may_be_anything():
    relations = (*TABLES, Relation("area.log"), Relation("tenant.view", "SELECT * FROM orders"))
    surmise = Surmise(Catalogue(relations, dialect="postgresql"))
    assert surmise.read_by("unheard") is None
    assert surmise.read_by("view") == {"orders"}, "a search path leads to it"
    assert Surmise(Catalogue((Relation("far", elsewhere=True),), dialect="postgresql")).read_by("far") is None
    assert Surmise(Catalogue()).read_by("unheard") == set(), "a catalogue that was not read says nothing"


def test_a_function_that_nobody_made_known_may_change_anything():
    surmise = Surmise(Catalogue(TABLES, builtin=frozenset({"lower"}), dialect="postgresql"))
    assert surmise.called("lower") == set()
    assert surmise.called("mystery") is None
    assert Surmise(Catalogue(dialect="sqlite")).called("mystery") == set()


def test_triggers_follow_each_other_and_name_the_columns_they_set():
    routines = (
        routine("count_up", "BEGIN UPDATE totals SET n = n + 1; RETURN NEW; END"),
        routine("note", "BEGIN INSERT INTO log VALUES (1); RETURN NEW; END"),
        routine("stamp", "BEGIN NEW.slug := lower(NEW.title); RETURN NEW; END"),
        routine("replace_row", "BEGIN NEW := other_row(); RETURN NEW; END"),
    )
    triggers = (
        Trigger("orders", "count_up"),
        Trigger("totals", "note"),
        Trigger("orders", "stamp"),
        Trigger("customers", "replace_row"),
    )
    surmise = Surmise(Catalogue(TABLES, routines, triggers, dialect="postgresql"))
    assert surmise.changed_by("orders") == {"totals", "log"}
    assert surmise.changed_by("log") == set()
    assert surmise.rewritten("orders") == {"slug"}
    assert surmise.rewritten("customers") == {"*"}


def test_views_policies_and_partitions():
    relations = (
        *TABLES,
        Relation("open_orders", "SELECT * FROM orders JOIN customers USING (customer)"),
        Relation("mine", "SELECT * FROM open_orders"),
        Relation("orders_2026", root="orders"),
    )
    catalogue = Catalogue(relations, policies=(("log", "(owner IN (SELECT id FROM customers))"),))
    surmise = Surmise(catalogue)
    assert surmise.read_by("mine") == {"orders", "customers"}
    assert surmise.is_view("mine")
    assert surmise.read_by("log") == {"customers"}
    assert surmise.secured == {"log"}
    assert surmise.table("orders_2026") == "orders"
    assert surmise.changed_by("open_orders") == {"orders", "customers"}


def test_the_catalogue_of_sqlite():
    connection = sqlite3.connect(":memory:")
    connection.executescript(
        """
        CREATE TABLE Parents (id INTEGER PRIMARY KEY);
        CREATE TABLE children (parent REFERENCES parents ON DELETE CASCADE ON UPDATE SET NULL);
        CREATE TABLE tally (n);
        CREATE VIEW everybody AS SELECT * FROM parents JOIN children;
        CREATE TRIGGER counts AFTER INSERT ON children BEGIN UPDATE tally SET n = n + 1; END;
        """
    )
    catalogue = read_catalogue("sqlite", lambda query: connection.execute(query).fetchall())
    connection.close()
    surmise = Surmise(catalogue)
    assert surmise.read_by("everybody") == {"parents", "children"}
    assert surmise.changed_by("children") >= {"tally"}
    [key] = catalogue.references
    assert (key.table, key.columns, key.target, key.target_columns) == (
        "children",
        ("parent",),
        "parents",
        ("id",),
    )
    assert (key.on_delete, key.on_update) == ("CASCADE", "SET NULL")


def test_other_databases_keep_their_catalogue():
    assert read_catalogue("mysql", lambda _query: pytest.fail("nothing is asked")) is None
