from itertools import permutations
from pathlib import Path

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.errors import CodecError, SealingError
from cachewright.runtime.codec import Accepted, Codec, Entry
from cachewright.runtime.sealing import parse_keys, sealing_of
from cachewright.runtime.settings import SealingKey, Settings

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
    load_seconds=st.just(0.0) | TIMES,
    idle=st.none() | TIMES,
)
OLD, NEW = SealingKey("2026-01", b"o" * 32), SealingKey("2026-02", b"n" * 32)
SEALINGS = [
    {"secret": b""},
    {"secret": b"secret"},
    {"sealing": "hmac", "keys": (OLD,)},
    {"sealing": "hmac", "keys": (NEW,)},
    {"sealing": "aead", "keys": (OLD,)},
    {"sealing": "aead", "keys": (NEW,)},
]
KEYED = [{"sealing": sealing} for sealing in ("hmac", "aead")]
CODECS = st.builds(
    lambda sealing, **how: Codec("todo", **sealing, **how),
    st.sampled_from(SEALINGS),
    compression=st.sampled_from(["none", "snappy", "gzip"]),
    threshold=st.sampled_from([0, 256]),
)
PLAIN = Entry.of(
    "k", loaded_at=1.0, expires_at=None, tokens={"t": b"t" * 16}, variant=None, payload=b"x" * 99
)


@given(CODECS, ENTRIES)
def test_an_entry_comes_back_as_it_was(codec, entry):
    assert codec.decode_entry(codec.encode_entry(entry), entry.key) == entry


@given(ENTRIES, st.sampled_from(SEALINGS), st.sampled_from(["none", "snappy", "gzip"]))
@pytest.mark.requirement("#210", "#211")
def test_the_reader_needs_only_the_sealing_not_the_compression_of_the_writer(entry, sealing, compression):
    writer, reader = Codec("todo", **sealing, compression=compression, threshold=0), Codec("todo", **sealing)
    assert reader.decode_entry(writer.encode_entry(entry), entry.key) == entry


@pytest.mark.parametrize(("written", "read"), list(permutations(SEALINGS, 2)))
def test_bytes_sealed_otherwise_than_configured_are_a_miss(written, read):
    blob = Codec("todo", **written).encode_entry(PLAIN)
    with pytest.raises(CodecError):
        Codec("todo", **read).decode_entry(blob, "k")


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


@given(st.sampled_from(SEALINGS), st.binary(max_size=40) | st.just(b"\x91\xa2\x00\x80"))
def test_a_body_of_any_bytes_under_a_good_seal_is_a_miss(sealing, body):
    """Who has the key, or where there is none, may have written anything: texts that are none included."""
    codec = Codec("todo", **sealing)
    with pytest.raises(CodecError):
        codec.decode_entry(codec._frame(b"entry", ("k",), body), "k")
    with pytest.raises(CodecError):
        codec.decode_acceptance(codec._frame(b"acceptance", ("k", "c"), body), "k", "c")


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
@pytest.mark.requirement("#209", "#211")
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


@pytest.mark.parametrize("sealing", SEALINGS)
@pytest.mark.parametrize(("compression", "method"), [("snappy", 1), ("gzip", 2)])
@pytest.mark.parametrize("said", [100, 65 * 1024 * 1024, 2**32 - 1])
def test_a_body_that_unpacks_to_other_than_it_says_or_to_too_much_is_a_miss(
    sealing, compression, method, said
):
    """Even where it is rightly sealed: it was written by a program in error, or the checksum by anybody."""
    codec = Codec("a", **sealing, compression=compression, threshold=0)
    packed = cramjam.snappy.compress_raw if method == 1 else cramjam.gzip.compress
    head = bytes((codec._seal.format, method)) + said.to_bytes(4, "big")
    blob = head + codec._seal.close(head, b"entry", ("k",), bytes(packed(b"x" * 10_000)))
    with pytest.raises(CodecError):
        codec.decode_entry(blob, "k")


@pytest.mark.parametrize("how", KEYED)
def test_keys_rotate_the_first_signs_and_all_are_accepted(how):
    before, both, after = (Codec("a", **how, keys=keys) for keys in ((OLD,), (NEW, OLD), (NEW,)))
    assert both.decode_entry(before.encode_entry(PLAIN), "k") == PLAIN
    assert after.decode_entry(both.encode_entry(PLAIN), "k") == PLAIN
    with pytest.raises(CodecError):
        after.decode_entry(before.encode_entry(PLAIN), "k")


@pytest.mark.parametrize("how", KEYED)
def test_a_key_is_not_known_by_its_id_alone(how):
    forged = Codec("a", **how, keys=(SealingKey(OLD.id, b"f" * 32),)).encode_entry(PLAIN)
    with pytest.raises(CodecError):
        Codec("a", **how, keys=(OLD,)).decode_entry(forged, "k")


@pytest.mark.parametrize("how", KEYED)
def test_an_entry_cannot_be_moved_to_another_key_kind_or_namespace(how):
    """Nor its body sealed anew by whoever has no key: the subject is part of what is authenticated."""
    codec = Codec("a", **how, keys=(OLD,))
    head = bytes((codec._seal.format, 0)) + (3).to_bytes(4, "big")
    closed = codec._seal.close(head, b"entry", ("k",), b"abc")
    assert bytes(codec._seal.open(head, b"entry", ("k",), memoryview(closed))) == b"abc"
    other = Codec("b", **how, keys=(OLD,))
    for seal, kind, names in (
        (codec._seal, b"entry", ("l",)),
        (codec._seal, b"acceptance", ("k",)),
        (codec._seal, b"entry", ("k", "")),
        (other._seal, b"entry", ("k",)),
    ):
        with pytest.raises(CodecError):
            seal.open(head, kind, names, memoryview(closed))


def test_an_encrypted_entry_shows_nothing_and_never_repeats():
    codec = Codec("a", sealing="aead", keys=(OLD,))
    entry = Entry.of(
        "user:7", loaded_at=1.0, expires_at=None, tokens={"tag7": b""}, variant=None, payload=b"private"
    )
    first, second = codec.encode_entry(entry), codec.encode_entry(entry)
    assert first != second
    assert all(part not in first for part in (b"user:7", b"tag7", b"private"))


def test_keys_are_read_from_the_environment_first_one_first():
    text = f"{NEW.id}:{NEW.secret.hex()}, {OLD.id}:{OLD.secret.hex()}"
    assert parse_keys(text) == (NEW, OLD)
    assert parse_keys("") == ()
    assert sealing_of({"CACHEWRIGHT_KEYS": text}) == ("hmac", (NEW, OLD))
    assert sealing_of({"CACHEWRIGHT_KEYS": text, "CACHEWRIGHT_SEALING": "aead"}) == ("aead", (NEW, OLD))
    assert sealing_of({}) == ("checksum", ())


@pytest.mark.parametrize(
    "text",
    [
        "2026-01",
        "2026-01:",
        "2026-01:abcd",
        "2026-01:" + "zz" * 32,
        ":" + "ab" * 32,
        "a b:" + "ab" * 32,
        "a" * 17 + ":" + "ab" * 32,
        "a:" + "ab" * 32 + ",a:" + "cd" * 32,
    ],
)
def test_keys_that_cannot_be_used_are_refused_and_not_shown(text):
    with pytest.raises(SealingError) as caught:
        sealing_of({"CACHEWRIGHT_KEYS": text})
    assert "abab" not in str(caught.value)
    assert "zzzz" not in str(caught.value)


@pytest.mark.parametrize(
    "how",
    [{"sealing": "hmac"}, {"sealing": "aead"}, {"sealing": "checksum", "keys": (OLD,)}, {"sealing": "sha1"}],
)
def test_a_sealing_and_its_keys_go_together(how):
    with pytest.raises(SealingError):
        Codec("a", **how)


def test_a_key_does_not_show_itself():
    assert "ooo" not in repr(Settings(sealing="hmac", keys=(OLD,)))


GOLDEN = Path(__file__).parent / "golden"
WRITERS = {
    "1-checksum": {"secret": b"golden"},
    "2-hmac": {"sealing": "hmac", "keys": (OLD,)},
    "3-aead": {"sealing": "aead", "keys": (OLD,)},
}
SUBJECT = Entry.of(
    "user:1:tasks",
    loaded_at=1700000000.5,
    expires_at=1700000060.5,
    tokens={"ns": bytes(range(16)), "tasks": bytes(range(16, 32))},
    variant=b"v",
    payload=b"[]",
)
TIMED = Entry.of(
    "user:1:tasks",
    loaded_at=1700000000.5,
    expires_at=None,
    tokens=SUBJECT.tokens,
    variant=None,
    payload=b"[1,2,3]" * 60,
    load_seconds=0.25,
    idle=30.0,
)
ACCEPTED = Accepted.of("user:1:tasks", "c0ffee", accepted_at=1.5, expires_at=9.5, tokens=SUBJECT.tokens)
#: name of the file -> how it was written, what it holds, whether the same bytes are written today
WRITTEN = {
    f"{name}-{what}": (how, compression, record, not name.endswith("aead"))
    for name, how in WRITERS.items()
    for what, compression, record in (
        ("entry", "none", SUBJECT),
        ("timed-snappy", "snappy", TIMED),
        ("timed-gzip", "gzip", TIMED),
        ("acceptance", "none", ACCEPTED),
    )
}


def test_every_golden_blob_is_known():
    found = {path.stem for path in GOLDEN.glob("*.bin")}
    assert {name for name in found if not name.startswith("value-")} == set(WRITTEN)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_any_version_wrote_is_read_for_ever(name):
    how, compression, record, repeatable = WRITTEN[name]
    blob = (GOLDEN / f"{name}.bin").read_bytes()
    codec = Codec("todo", **how, compression=compression, threshold=0)
    if isinstance(record, Entry):
        assert codec.decode_entry(blob, record.key) == record
        again = codec.encode_entry(record)
    else:
        assert codec.decode_acceptance(blob, record.key, record.credential) == record
        again = codec.encode_acceptance(record)
    assert not repeatable or compression != "none" or again == blob
    assert blob[0] == int(name[0])


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("form", [0, 4, 255])
def test_a_format_of_the_future_is_a_miss(name, form):
    how, _, record, _ = WRITTEN[name]
    blob = bytes((form,)) + (GOLDEN / f"{name}.bin").read_bytes()[1:]
    with pytest.raises(CodecError):
        Codec("todo", **how).decode_entry(blob, record.key)
