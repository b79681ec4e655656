import threading

from hypothesis import given
from hypothesis import strategies as st

from cachewright.runtime.tokens import LocalTokens, fresh_token


def test_what_is_learnt_agrees_until_it_is_touched():
    tokens = LocalTokens()
    assert tokens.learn(tokens.mark(), {"a": b"1", "b": b"2"}) is not None
    assert tokens.agree({"a": b"1", "b": b"2"})
    assert tokens.touch(["a", "c"]) == 1
    assert not tokens.agree({"a": b"1"})
    assert tokens.agree({"b": b"2"})


def test_an_answer_overtaken_by_a_touch_is_not_learnt():
    tokens = LocalTokens()
    mark = tokens.mark()
    tokens.touch(["a"])
    assert tokens.learn(mark, {"a": b"1"}) is None
    assert not tokens.agree({"a": b"1"})
    assert tokens.learn(mark, {"b": b"2"}) is not None


def test_another_token_than_the_known_one_counts_as_a_touch_for_everybody_before():
    tokens = LocalTokens()
    before = tokens.mark()
    tokens.learn(before, {"a": b"old"})
    mark = tokens.learn(tokens.mark(), {"a": b"new"})
    assert tokens.unchanged(mark, ["a"])
    assert not tokens.unchanged(before, ["a"])
    assert tokens.agree({"a": b"new"})


def test_a_hold_is_a_touch_and_lasts_until_its_release():
    tokens = LocalTokens()
    mark = tokens.mark()
    tokens.hold(["a"])
    assert tokens.held(["b", "a"])
    assert not tokens.unchanged(tokens.mark(), ["a"])
    tokens.release(["a"])
    assert not tokens.held(["a"])
    assert not tokens.unchanged(mark, ["a"])
    assert tokens.unchanged(tokens.mark(), ["a"])


def test_forgetting_ends_the_trust_in_everything_under_way():
    tokens = LocalTokens()
    mark = tokens.mark()
    tokens.forget()
    assert not tokens.unchanged(mark, ["never seen"])
    assert tokens.unchanged(tokens.mark(), ["never seen"])


@given(st.lists(st.tuples(st.sampled_from(["touch", "learn"]), st.integers(0, 60)), max_size=200))
def test_it_never_remembers_more_than_its_limit_and_never_forgets_a_touch(steps):
    tokens = LocalTokens(limit=8)
    marks = {}
    for what, number in steps:
        tag = f"t{number}"
        if what == "touch":
            tokens.touch([tag])
            for other, mark in marks.items():
                assert other != tag or not tokens.unchanged(mark, [tag])
            marks.pop(tag, None)
        else:
            tokens.learn(tokens.mark(), {tag: b"x"})
            marks.setdefault(tag, tokens.mark())
        assert len(tokens._touched) <= 8
        assert len(tokens._known) <= 8


def test_tokens_that_are_asked_for_stay_however_many_others_come():
    tokens = LocalTokens(limit=8)
    steady = tokens.mint(["steady"], fresh_token)
    for number in range(100):
        tokens.mint([f"t{number}"], fresh_token)
        assert tokens.agree(steady)
        assert len(tokens._known) + len(tokens._older) <= 8


def test_what_was_touched_is_no_longer_among_the_older_tokens_either():
    tokens = LocalTokens(limit=8)
    old = tokens.mint(["a"], fresh_token)
    tokens.mint([f"t{number}" for number in range(4)], fresh_token)
    assert "a" in tokens._older
    assert tokens.touch(["a"]) == 1
    assert not tokens.agree(old)
    assert tokens.mint(["a"], fresh_token) != old


def test_a_single_process_mints_each_token_once():
    tokens = LocalTokens()
    first = tokens.mint(["a", "b"], fresh_token)
    assert tokens.mint(["b", "a"], fresh_token) == first
    tokens.touch(["a"])
    assert tokens.mint(["a"], fresh_token) != {"a": first["a"]}


def test_holds_of_many_threads_add_up_to_nothing():
    tokens = LocalTokens()

    def work():
        for _ in range(500):
            tokens.hold(["a", "b"])
            assert tokens.held(["a"])
            tokens.touch(["a"])
            tokens.release(["a", "b"])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not tokens.held(["a", "b"])
    assert tokens._held == {}
