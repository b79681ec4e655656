import pytest

from cachewright.runtime import journal as module
from cachewright.runtime.journal import Journal
from cachewright.runtime.tokens import LocalTokens


def make(directory=None, origin=b"one", namespace="todo"):
    tokens = LocalTokens()
    return tokens, Journal(tokens, namespace=namespace, origin=origin, directory=directory)


def test_kept_tags_are_held_until_they_were_delivered():
    tokens, journal = make()
    journal.add(["a", "b"])
    journal.add(["a"])
    assert tokens.held(["a"])
    assert tokens.held(["b"])
    journal.delivered(journal.pending())
    assert not tokens.held(["a", "b"])
    assert len(journal) == 0


def test_what_was_added_again_during_a_delivery_stays():
    tokens, journal = make()
    journal.add(["a", "b"])
    under_way = journal.pending()
    journal.add(["a"])
    journal.delivered(under_way)
    assert dict.fromkeys(journal.pending()) == {"a": None}
    assert tokens.held(["a"])
    assert not tokens.held(["b"])


def test_how_long_a_delivery_took_counts_from_the_first_attempt_that_it_makes_up_for():
    _, journal = make()
    journal.add(["a"], since=1.0)
    journal.add(["b"])  # nobody knows since when
    under_way = journal.pending()
    journal.add(["a"], since=2.0)
    assert journal.delivered(under_way) == [1.0]
    assert journal.delivered(under_way) == []
    assert journal.delivered(journal.pending()) == [2.0]
    journal.add(["a"], since=3.0)
    journal.add(["a", "b"], since=4.0)
    assert journal.delivered(journal.pending()) == [3.0, 4.0]


def test_too_many_tags_become_the_whole_namespace(monkeypatch):
    monkeypatch.setattr(module, "_LIMIT", 3)
    tokens, journal = make()
    journal.add(["a", "b"])
    journal.add(["c", "d"])
    assert set(journal.pending()) == {"a", "b", "ns"}
    assert tokens.held(["ns"])


def test_an_heir_delivers_and_clears_what_was_left_behind(tmp_path):
    make(tmp_path)[1].add(["a", "b\n"])
    make(tmp_path, namespace="other")[1].add(["z"])
    tokens, heir = make(tmp_path, origin=b"two")
    heir.adopt()
    assert set(heir.pending()) == {"a", "b\n"}
    assert tokens.held(["a"])
    heir.delivered(heir.pending())
    assert [path.name.split(".")[0] for path in tmp_path.iterdir()] == ["other"]


def test_a_file_that_grew_meanwhile_is_left_to_its_owner(tmp_path):
    _, owner = make(tmp_path)
    owner.add(["a"])
    _, other = make(tmp_path, origin=b"two")
    other.adopt()
    owner.add(["b"])
    other.delivered(other.pending())
    assert len(list(tmp_path.iterdir())) == 1
    owner.delivered(owner.pending())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", [b'["a"]\n["b', b"[1]\n", b'"a"\n', b"\xff\n"])
def test_a_torn_or_foreign_line_stands_for_the_whole_namespace(tmp_path, line):
    (tmp_path / "todo.00.invalidations").write_bytes(line)
    _, heir = make(tmp_path)
    heir.adopt()
    assert set(heir.pending()) == {"ns"}


def test_a_directory_that_cannot_be_written_keeps_them_in_memory(tmp_path, caplog):
    (tmp_path / "file").touch()
    tokens, journal = make(tmp_path / "file")
    journal.add(["a"])
    assert tokens.held(["a"])
    assert "kept in memory only" in caplog.text
