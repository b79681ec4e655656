"""The queue of accepted writes, without clock or waiting."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cachewright.runtime.strategies.pending import Pending
from cachewright.runtime.strategies.records import Write


def write(name: str, version: int) -> Write:
    return Write(name, version, name.encode(), b"%d" % version)


def pending() -> Pending:
    return Pending(first=1.0, longest=8.0, dice=lambda: 0.0)


def test_writes_wait_for_their_time_unless_all_are_due():
    queue = pending()
    queue.accept(write("a", 1), 0.0, due=5.0)
    assert queue.take(4.9, 9) == []
    assert queue.next_due() == 5.0
    assert queue.take(4.9, 9, all_due=True) == [write("a", 1)]
    assert queue.next_due() is None


def test_a_key_has_one_write_under_way_and_the_newest_follows():
    queue = pending()
    queue.accept(write("a", 1), 0.0, due=0.0)
    queue.take(0.0, 9)
    for version in (2, 4, 3):
        queue.accept(write("a", version), 1.0, due=9.0)
    assert queue.take(9.0, 9) == []
    assert queue.look("a") == write("a", 4)
    assert not queue.stored(write("a", 1), 2.0)
    assert queue.take(2.0, 9) == [write("a", 4)]
    assert queue.stored(write("a", 4), 3.0)
    assert queue.look("a") is None
    assert queue.backlog(3.0).coalesced == 2


def test_a_failure_doubles_the_delay_up_to_a_bound_and_success_forgets_it():
    queue = pending()
    queue.accept(write("a", 1), 0.0, due=0.0)
    delays, now = [], 0.0
    for _ in range(5):
        queue.take(now, 9)
        delays.append(queue.failed(write("a", 1), now))
        assert queue.take(now, 9, all_due=True) == []
        now += delays[-1]
    assert delays == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert queue.backlog(now).failing == 1
    queue.take(now, 9)
    queue.stored(write("a", 1), now)
    queue.accept(write("a", 2), now, due=now)
    queue.take(now, 9)
    assert queue.failed(write("a", 2), now) == 1.0


def test_the_longest_waiting_go_first_and_no_more_than_asked_for():
    queue = pending()
    for number, name in enumerate("cab"):
        queue.accept(write(name, number + 1), float(number), due=0.0)
    assert [each.name for each in queue.take(9.0, 2)] == ["c", "a"]
    assert queue.backlog(9.0).oldest == 9.0


class Queue(RuleBasedStateMachine):
    """Against a model of what the database may and must see."""

    def __init__(self):
        super().__init__()
        self.queue = pending()
        self.now = 0.0
        self.version = 0
        self.accepted: dict[str, int] = {}
        self.database: dict[str, int] = {}
        self.under_way: list[Write] = []

    @rule(name=st.sampled_from("abcd"))
    def accept(self, name):
        self.version += 1
        self.accepted[name] = self.version
        self.queue.accept(write(name, self.version), self.now, due=self.now + 1)

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds):
        self.now += seconds

    @rule(count=st.integers(0, 3), all_due=st.booleans())
    def take(self, count, all_due):
        taken = self.queue.take(self.now, count, all_due=all_due)
        assert len(taken) <= count
        self.under_way += taken
        names = [each.name for each in self.under_way]
        assert len(names) == len(set(names))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), works=st.booleans())
    def answer(self, data, works):
        one = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        if not works:
            self.queue.failed(one, self.now)
            return
        assert one.version > self.database.get(one.name, 0)
        self.database[one.name] = one.version
        gone = self.queue.stored(one, self.now)
        assert gone == (self.accepted[one.name] == one.version)

    @invariant()
    def nothing_accepted_is_lost(self):
        for name, version in self.accepted.items():
            waiting = self.queue.look(name)
            if waiting is None:
                assert self.database[name] == version
            else:
                assert waiting.version == version


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
