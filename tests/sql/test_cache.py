import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from cachewright.sql.cache import LONG_TEXT, Facts


def test_a_text_is_parsed_once():
    asked = []
    facts = Facts(lambda: asked.append(1) or {"t": ["a", "b"]})
    first = facts.of("SELECT a FROM t WHERE b = ?", "sqlite", "qmark")
    assert facts.of("SELECT a FROM t WHERE b = ?", "sqlite", "qmark") is first
    assert len(asked) == 1


def test_comments_and_white_space_need_no_second_parse():
    facts = Facts(dict)
    first = facts.of("SELECT a FROM t WHERE b = ?", "sqlite", "qmark")
    assert facts.of("SELECT a  FROM t -- traced\nWHERE b = ?", "sqlite", "qmark") is first


def test_dialects_and_styles_are_kept_apart():
    facts = Facts(dict)
    sql = "SELECT a FROM t WHERE \"b\" = 'x'"
    assert facts.of(sql, "sqlite", "qmark").reads[0].pinned
    assert not facts.of(sql, "mysql", "format").reads[0].pinned


def test_what_was_used_last_is_kept_within_the_limit():
    facts = Facts(dict, limit=10)
    kept = facts.of("SELECT 0 FROM t", "sqlite", "qmark")
    for number in range(1, 40):
        facts.of(f"SELECT {number} FROM t", "sqlite", "qmark")
        assert facts.of("SELECT 0 FROM t", "sqlite", "qmark") is kept
    assert len(facts) <= 10


def test_new_tables_make_it_forget():
    declared = {}
    facts = Facts(lambda: declared)
    assert facts.of("SELECT 1 FROM log", "sqlite", "qmark").reads[0].table == "log"
    declared["audit.log"] = ["id"]
    facts.of("SELECT 2 FROM log", "sqlite", "qmark")
    assert facts.of("SELECT 1 FROM log", "sqlite", "qmark").reads[0].table == "audit.log"


def test_it_never_raises():
    def broken():
        raise RuntimeError("no metadata")

    assert Facts(broken).of("SELECT 1", "sqlite", "qmark").unknown
    assert Facts(dict).of("SELECT", "sqlite", "no such style").unknown


def test_long_texts_are_remembered_too():
    facts = Facts(dict)
    sql = f"SELECT a FROM t WHERE b IN ({', '.join('?' * LONG_TEXT)})"
    assert facts.of(sql, "sqlite", "qmark") is facts.of(sql, "sqlite", "qmark")


def test_threads_agree():
    facts = Facts(dict, limit=20)
    texts = [f"SELECT a FROM t{number % 30} WHERE b = ?" for number in range(120)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda sql: facts.of(sql, "sqlite", "qmark"), texts))
    assert [each.reads[0].table for each in found] == [f"t{number % 30}" for number in range(120)]


def test_facts_can_be_held_without_the_parser():
    code = "import sys, cachewright.sql.cache, cachewright.sql.script; sys.exit('sqlglot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
