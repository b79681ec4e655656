"""Records as bytes: whatever was written whole comes back, whatever happened around it."""

from hypothesis import example, given
from hypothesis import strategies as st

from cachewright.runtime.strategies.records import Damage, Done, Write, frame, pack, read, remaining, unpack

NAMES = st.sampled_from("abc")
WRITES = st.builds(
    Write, NAMES, st.integers(1, 50), st.binary(max_size=9), st.none() | st.binary(max_size=99)
)
RECORDS = WRITES | st.builds(Done, NAMES, st.integers(1, 50))


@given(st.lists(RECORDS))
def test_what_was_written_is_read(records):
    assert list(read(b"".join(map(frame, records)))) == records


@given(st.lists(RECORDS, min_size=1), st.data())
def test_a_torn_end_costs_the_torn_record_alone(records, data):
    frames = list(map(frame, records))
    torn = data.draw(st.integers(1, len(frames[-1]) - 1))
    found = list(read(b"".join(frames[:-1]) + frames[-1][:torn]))
    assert found == [*records[:-1], Damage(torn, tail=True)]


@given(st.lists(RECORDS, min_size=2), st.data())
def test_a_changed_byte_costs_its_record_alone(records, data):
    frames = [bytearray(frame(record)) for record in records]
    hit = data.draw(st.integers(0, len(frames) - 2))
    at = data.draw(st.integers(0, len(frames[hit]) - 1))
    frames[hit][at] ^= data.draw(st.integers(1, 255))
    found = list(read(b"".join(frames)))
    assert [record for record in found if not isinstance(record, Damage)] == [
        *records[:hit],
        *records[hit + 1 :],
    ]
    assert sum(each.size for each in found if isinstance(each, Damage)) == len(frames[hit])


@given(st.binary())
@example(b"\x91\xa2\x00\x80")
def test_any_bytes_can_be_read(data):
    assert sum(each.size for each in read(data) if isinstance(each, Damage)) <= len(data)
    assert unpack(data) is None or pack(unpack(data))


def test_a_frame_within_a_value_is_no_record():
    """A value may hold anything, a journal's own bytes too."""
    inner = frame(Done("a", 9))
    outer = Write("a", 1, b"k", inner)
    assert list(read(frame(outer))) == [outer]


@given(st.permutations([Write("a", n, b"", bytes([n])) for n in (1, 2, 3)]), st.integers(0, 3))
def test_what_remains_is_the_newest_that_is_not_done(writes, done):
    left, _ = remaining(iter([Done("a", done), *writes]))
    again, _ = remaining(iter([*writes, Done("a", done)]))
    assert left == again == ({} if done == 3 else {"a": Write("a", 3, b"", b"\x03")})
