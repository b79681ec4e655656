import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.sql.lexer import Family, tokens
from cachewright.sql.placeholders import normalise
from cachewright.sql.script import script


@pytest.mark.parametrize(
    ("paramstyle", "sql", "text", "keys"),
    [
        ("qmark", "a = ? AND b = ?", "a = :cw0 AND b = :cw1", (0, 1)),
        ("qmark", "a = ?2 AND b = ?1 AND c = ?", "a = :cw0 AND b = :cw1 AND c = :cw2", (1, 0, 2)),
        ("qmark", "a = '?' AND b = ? -- ?", "a = '?' AND b = :cw0 -- ?", (0,)),
        ("qmark", 'a = "x?" /* ? */ AND b = ?', 'a = "x?" /* ? */ AND b = :cw0', (0,)),
        ("format", "a = %s AND b %% %s", "a = :cw0 AND b %% :cw1", (0, 1)),
        ("format", "a %%s", "a %%s", ()),
        ("pyformat", "a = %(x y)s AND b = %(b_1)s", "a = :cw0 AND b = :cw1", ("x y", "b_1")),
        ("pyformat", "a = %s AND b = %b", "a = :cw0 AND b = :cw1", (0, 1)),
        ("pyformat", "a = %(a)s::VARCHAR", "a = :cw0::VARCHAR", ("a",)),
        (
            "named",
            "a = :a AND b::text = :b_1 AND c = ':c'",
            "a = :cw0 AND b::text = :cw1 AND c = ':c'",
            ("a", "b_1"),
        ),
        ("named", "a := :a", "a := :cw0", ("a",)),
        ("numeric", "a = :2 AND b = :1", "a = :cw0 AND b = :cw1", (1, 0)),
        ("numeric", "a[1:2] = :1", "a[1:2] = :cw0", (0,)),
        ("numeric_dollar", "a = $2::VARCHAR AND b = $1", "a = :cw0::VARCHAR AND b = :cw1", (1, 0)),
        ("numeric_dollar", "a[$1:$2]", "a[:cw0 : :cw1]", (0, 1)),
        (
            "numeric_dollar",
            "a = $$ $1 $$ AND b = $t$ $2 $t$ AND c = $3",
            "a = $$ $1 $$ AND b = $t$ $2 $t$ AND c = :cw0",
            (2,),
        ),
        ("numeric_dollar", r"a = E'\' $1' AND b = $1", r"a = E'\' $1' AND b = :cw0", (0,)),
    ],
)
def test_placeholders_are_rewritten_and_nothing_else(paramstyle, sql, text, keys):
    assert normalise(sql, paramstyle) == (text, keys)


def test_a_printf_driver_counts_what_stands_in_literals_and_comments():
    assert normalise("/* %s */ a = '%s' AND b = %s", "format") == ("/* %s */ a = '%s' AND b = :cw0", (2,))


def test_mysql_strings_escape_with_backslashes():
    sql = r"a = 'it\'s %s' AND b = ?"
    assert normalise(sql, "qmark", dialect="mysql") == (r"a = 'it\'s %s' AND b = :cw0", (0,))


def test_sqlite_names_in_brackets_are_names_and_postgres_arrays_are_not():
    assert normalise("[a?] = ?", "qmark", dialect="sqlite") == ("[a?] = :cw0", (0,))
    assert normalise("ARRAY[$1]", "numeric_dollar", dialect="postgresql") == ("ARRAY[:cw0]", (0,))


def test_postgres_comments_nest():
    assert normalise("/* /* */ $1 */ $2", "numeric_dollar", dialect="postgresql") == (
        "/* /* */ $1 */ :cw0",
        (1,),
    )
    assert normalise("/* /* */ ?", "qmark", dialect="sqlite") == ("/* /* */ :cw0", (0,))


_LITERAL = st.text(st.sampled_from("?:x1$%'\"-/*;[]` \n\\"), max_size=12)
_PLACE = {"qmark": "?", "named": ":x", "numeric": ":1", "numeric_dollar": "$1"}


@given(st.sampled_from(sorted(_PLACE)), st.lists(_LITERAL, min_size=1, max_size=4))
def test_literals_and_quoted_names_never_change(style, contents):
    literals = ["'" + each.replace("'", "''") + "'" for each in contents]
    names = ['"' + each.replace('"', '""') + '"' for each in contents]
    place = _PLACE[style]
    sql = " , ".join(f"{literal} = {name} AND {place}" for literal, name in zip(literals, names, strict=True))
    expected = " , ".join(
        f"{literal} = {name} AND :cw{at}"
        for at, (literal, name) in enumerate(zip(literals, names, strict=True))
    )
    text, keys = normalise(sql, style)
    assert text == expected
    assert len(keys) == len(contents)


@given(
    st.text(st.sampled_from("ab?:$1%s('\"-/*;[]`#eE \n\\!"), max_size=60),
    st.sampled_from(["qmark", "format", "pyformat", "named", "numeric", "numeric_dollar", "any"]),
    st.sampled_from(list(Family)),
)
def test_the_tokens_of_any_text_join_to_that_text(sql, style, family):
    assert "".join(token.text for token in tokens(sql, style, family)) == sql


def test_scripts_ignore_comments_and_white_space():
    plain = script("SELECT a FROM t WHERE b = ?", "qmark", dialect="sqlite")
    other = script(
        "SELECT a -- why\n  FROM t /* traceparent='00-1' */ WHERE b = ? ;", "qmark", dialect="sqlite"
    )
    assert plain == other
    assert plain.statements == ("SELECT a FROM t WHERE b = :cw0",)


def test_scripts_split_at_semicolons_outside_of_literals():
    assert script("SELECT ';'; SELECT 2", "qmark").statements == ("SELECT ';'", "SELECT 2")


def test_scripts_show_the_percent_sign_that_the_database_sees():
    assert script("a %% %s = 'x%%'", "format").statements == ("a % :cw0 = 'x%%'",)


def test_mysql_arithmetic_of_two_minus_signs_is_no_comment():
    assert script("a = 5--1 AND b = %s # %s", "format", dialect="mysql").statements == (
        "a = 5- -1 AND b = :cw0",
    )


def test_scripts_shorten_long_lists_and_keep_all_keys():
    places = ", ".join("?" * 1000)
    short = script(f"SELECT 1 FROM t WHERE a IN ({places}) AND b = ?", "qmark")
    assert short.statements[0].endswith(":cw199, :cw999) AND b = :cw1000")
    assert len(short.keys) == 1001
