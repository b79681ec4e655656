import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.errors import CodecError
from cachewright.runtime.codec import Accepted, Codec, Entry

TIMES = st.floats(0, 4e9)
TOKENS = st.dictionaries(st.text(max_size=20), st.binary(min_size=16, max_size=16), max_size=8)
ENTRIES = st.builds(
    Entry.of,
    st.text(max_size=50),
    loaded_at=TIMES,
    expires_at=st.none() | TIMES,
    tokens=TOKENS,
    variant=st.none() | st.binary(max_size=16),
    payload=st.binary(max_size=300) | st.binary(max_size=20).map(lambda part: part * 200),
)
CODECS = st.builds(
    Codec,
    st.just("todo"),
    secret=st.sampled_from([b"", b"secret"]),
    compression=st.sampled_from(["none", "snappy", "gzip"]),
    threshold=st.sampled_from([0, 256]),
)

GOLDEN = bytes.fromhex(
    "0100000000551a856cc4edc08d9e2a5862218f35949696ac757365723a313a7461736b73cb41d954"
    "fc40200000cb41d954fc4f20000082a26e73c410000102030405060708090a0b0c0d0e0fa5746173"
    "6b73c410101112131415161718191a1b1c1d1e1fc40176c4025b5d"
)


@given(CODECS, ENTRIES)
def test_an_entry_comes_back_as_it_was(codec, entry):
    assert codec.decode_entry(codec.encode_entry(entry), entry.key) == entry


@given(CODECS, CODECS, ENTRIES)
def test_the_reader_needs_only_the_secret_not_the_settings_of_the_writer(writer, reader, entry):
    data = writer.encode_entry(entry)
    if writer._key == reader._key:
        assert reader.decode_entry(data, entry.key) == entry
    else:
        with pytest.raises(CodecError):
            reader.decode_entry(data, entry.key)


@given(CODECS, ENTRIES, st.data())
def test_any_changed_byte_makes_it_a_miss(codec, entry, data):
    blob = bytearray(codec.encode_entry(entry))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CodecError):
        codec.decode_entry(bytes(blob), entry.key)


@given(CODECS, ENTRIES, st.integers(0, 400))
def test_a_shortened_one_is_a_miss(codec, entry, keep):
    blob = codec.encode_entry(entry)
    if keep < len(blob):
        with pytest.raises(CodecError):
            codec.decode_entry(blob[:keep], entry.key)


@given(CODECS, st.binary(max_size=200))
def test_foreign_bytes_are_a_miss(codec, blob):
    with pytest.raises(CodecError):
        codec.decode_entry(blob, "tasks")
    with pytest.raises(CodecError):
        codec.decode_acceptance(blob, "tasks", "aa")


@given(CODECS, ENTRIES, st.text(max_size=50))
def test_an_entry_of_another_key_is_a_miss(codec, entry, key):
    if key != entry.key:
        with pytest.raises(CodecError):
            codec.decode_entry(codec.encode_entry(entry), key)


def test_another_namespace_with_the_same_secret_is_a_miss():
    entry = Entry.of("k", loaded_at=1.0, expires_at=None, tokens={}, variant=None, payload=b"x")
    with pytest.raises(CodecError):
        Codec("b", secret=b"s").decode_entry(Codec("a", secret=b"s").encode_entry(entry), "k")


@given(CODECS, TOKENS)
def test_an_acceptance_comes_back_only_for_its_key_and_credential(codec, tokens):
    accepted = Accepted.of("k", "aa", accepted_at=1.0, expires_at=2.0, tokens=tokens)
    blob = codec.encode_acceptance(accepted)
    assert codec.decode_acceptance(blob, "k", "aa") == accepted
    for key, credential in (("k", "bb"), ("l", "aa")):
        with pytest.raises(CodecError):
            codec.decode_acceptance(blob, key, credential)
    with pytest.raises(CodecError):
        codec.decode_entry(blob, "k")


@pytest.mark.parametrize("compression", ["snappy", "gzip"])
def test_only_bodies_from_the_threshold_on_are_compressed(compression):
    codec = Codec("a", compression=compression, threshold=1000)
    small, large = (
        Entry.of("k", loaded_at=1.0, expires_at=None, tokens={}, variant=None, payload=b"x" * size)
        for size in (500, 5000)
    )
    assert len(codec.encode_entry(small)) > 500
    assert len(codec.encode_entry(large)) < 500


@pytest.mark.parametrize("compression", ["snappy", "gzip"])
def test_what_compression_would_enlarge_is_stored_as_it_is(compression):
    codec = Codec("a", compression=compression, threshold=0)
    entry = Entry.of("k", loaded_at=1.0, expires_at=None, tokens={}, variant=None, payload=bytes(range(256)))
    assert codec.encode_entry(entry)[1] == 0


@pytest.mark.parametrize("method", [1, 2])
def test_a_body_that_unpacks_to_more_than_it_says_is_a_miss(method):
    codec = Codec("a", compression="snappy" if method == 1 else "gzip", threshold=0)
    entry = Entry.of("k", loaded_at=1.0, expires_at=None, tokens={}, variant=None, payload=b"x" * 10_000)
    packed = codec.encode_entry(entry)[22:]
    head = bytes((1, method)) + (100).to_bytes(4, "big")
    with pytest.raises(CodecError):
        codec.decode_entry(head + codec._digest(b"entry", head, packed) + packed, "k")


def test_a_frame_of_the_first_format_is_read_for_ever():
    """The bytes of an entry as version 1 of the format wrote them."""
    blob = GOLDEN
    entry = Codec("todo", secret=b"golden").decode_entry(blob, "user:1:tasks")
    assert entry == Entry.of(
        "user:1:tasks",
        loaded_at=1700000000.5,
        expires_at=1700000060.5,
        tokens={"ns": bytes(range(16)), "tasks": bytes(range(16, 32))},
        variant=b"v",
        payload=b"[]",
    )
