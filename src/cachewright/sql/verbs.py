"""What the first words of a statement already settle, before any parser is asked."""

from __future__ import annotations

import enum
import re


class Verdict(enum.Enum):
    """Whether a statement needs parsing."""

    HARMLESS = "neither reads nor writes rows"
    UNKNOWN = "may write anything"
    PARSE = "the parser tells"


_FIRST = re.compile(r"\(*\s*([A-Za-z]+)")

_PARSED = frozenset({"select", "with", "insert", "update", "delete", "replace", "merge", "values", "table"})

_HARMLESS = frozenset({
    "abort", "begin", "commit", "deallocate", "discard", "end", "listen", "lock", "release", "reset",
    "rollback", "savepoint", "start", "unlisten", "unlock",
})  # fmt: skip

_QUIET_PRAGMAS = frozenset({
    "analysis_limit", "application_id", "auto_vacuum", "automatic_index", "busy_timeout", "cache_size",
    "cache_spill", "collation_list", "compile_options", "database_list", "defer_foreign_keys",
    "encoding", "foreign_key_check", "foreign_key_list", "foreign_keys", "function_list", "index_info",
    "index_list", "index_xinfo", "integrity_check", "journal_mode", "journal_size_limit",
    "locking_mode", "mmap_size", "optimize", "page_size", "query_only", "quick_check",
    "read_uncommitted", "secure_delete", "synchronous", "table_info", "table_list", "table_xinfo",
    "temp_store", "threads", "trusted_schema", "wal_autocheckpoint", "wal_checkpoint",
})  # fmt: skip

_PRAGMA = re.compile(r"pragma\s+(?:\w+\.)?(\w+)\s*(\S?)", re.IGNORECASE)
_RUNS = re.compile(r"\w+\s+(?:analy[sz]e\b|\([^)]*analy[sz]e)", re.IGNORECASE)
_WRITING_WORD = re.compile(
    r"\b(?:insert|update|delete|merge|exec(?:ute)?|truncate|create|drop|alter|call)\b", re.IGNORECASE
)
_SECOND_PHASE = re.compile(r"commit\s+prepared\b", re.IGNORECASE)


#: With what it refreshes.
REFRESH = re.compile(
    r"refresh\s+materialized\s+view\s+(?:concurrently\s+)?(.+?)\s*(?:with\s+(?:no\s+)?data\s*)?\Z",
    re.IGNORECASE,
)


def judge(statement: str) -> Verdict:
    """Judge one statement that carries no comments.

    What is not on a list may write anything: CALL, DO, DDL, TRUNCATE, COPY, EXECUTE, VACUUM and words
    unheard of.
    """
    first = _FIRST.match(statement)
    if first is None:
        return Verdict.UNKNOWN
    word = first[1].lower()
    if word in _PARSED or REFRESH.match(statement):
        return Verdict.PARSE
    return Verdict.HARMLESS if _harmless(word, statement) else Verdict.UNKNOWN


def _harmless(word: str, statement: str) -> bool:
    match word:
        case "pragma":
            return _quiet_pragma(statement)
        case "set":
            # MySQL evaluates what it assigns, and a function there may do anything.
            return "(" not in statement and _WRITING_WORD.search(statement) is None
        case "explain" | "describe" | "desc":
            return _RUNS.match(statement) is None
        case "commit" if _SECOND_PHASE.match(statement):
            return False
        case "show" | "notify":
            return True
        case _:
            # Transact-SQL needs no semicolon: `BEGIN DELETE FROM t` is one text.
            return word in _HARMLESS and _WRITING_WORD.search(statement) is None


def _quiet_pragma(statement: str) -> bool:
    match = _PRAGMA.match(statement)
    return match is not None and (not match[2] or match[1].lower() in _QUIET_PRAGMAS)
