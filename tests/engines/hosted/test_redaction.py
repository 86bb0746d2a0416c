"""No spelling of a key survives, and nothing that is not one is touched."""

from __future__ import annotations

import base64
import gzip
import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tempzero.engines.hosted.redaction import REDACTED, Secrets
from tempzero.engines.hosted.unpacking import unpack_bytes

KEY = "sk-Test/key+0123&456789"
SECRETS = Secrets([KEY])
HEAD = b'data: {"id": "x", "object": "chat.completion.chunk", "created": 1, "choices": [{"index": 0, "delta": {'
DONE = b"data: [DONE]\n\n"


@settings(max_examples=100, deadline=None)
@given(
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40),
    before=st.binary(max_size=7),
    after=st.binary(max_size=7),
)
def test_base64_gives_no_key_away_at_any_offset(key: str, before: bytes, after: bytes) -> None:
    """Of the key's letters at most fragments are left, beside the neighbours they share a group with."""
    encoded = base64.b64encode(before + key.encode() + after)
    left, found = Secrets([key]).removed_from(encoded)
    assert found
    rest = left.replace(REDACTED.encode(), b"")
    assert len(rest) <= len(base64.b64encode(before)) + len(base64.b64encode(after)) + 4


@pytest.mark.parametrize(
    "body",
    [
        KEY.encode(),
        json.dumps({"k": KEY}).replace("/", "\\/").encode(),
        KEY.encode().hex().encode(),
        KEY.replace("&", "&amp;").encode(),
        b"sk-Test%2Fkey%2B0123%26456789",
        f'{{"k": "{KEY[:-1]}'.encode(),
    ],
)
def test_a_plain_or_encoded_key_is_cut_out(body: bytes) -> None:
    """The rest of the answer stays what it was."""
    left, found = SECRETS.removed_from(b"left " + body)
    assert found
    assert left.startswith(b"left ")
    assert REDACTED.encode() in left
    assert SECRETS.hidden_in(left) is None


def gzipped(data: bytes) -> bytes:
    """Without the hour in its head, so that a test made of it has one and the same name in every process."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("body", "hidden"),
    [
        ("".join(f"\\u{ord(c):04x}" for c in KEY).encode(), "spelled"),
        ("".join(f"%{ord(c):02x}" for c in KEY).encode(), "spelled"),
        ("".join(f"&#{ord(c)};" for c in KEY).encode(), "spelled"),
        (b"".join(b'data: {"content": "%s", "id": "x"}\n\n' % bytes([c]) for c in KEY.encode()), "spelled"),
        (b"".join(HEAD + b'"content": "%s"}}]}\n\n' % bytes([c]) for c in KEY.encode()) + DONE, "spelled"),
        (b"".join(HEAD + b'"content": "%s"}}]}\n\n' % bytes([c]) for c in KEY.encode()[1:]) + DONE, None),
        (b"".join(b": %s\r\n" % bytes([c]) for c in KEY.encode()), "spelled"),
        (gzipped(KEY.encode()), "spelled"),
        (zlib.compress(KEY.encode()), "spelled"),
        (gzipped(b"no key") + gzipped(KEY.encode()), "spelled"),
        (gzipped(KEY.encode())[:-9], "unsearchable"),
        (gzipped(gzipped(KEY.encode())), "unsearchable"),
        (b"\x28\xb5\x2f\xfd\x00", "unsearchable"),
        (gzipped(b'{"a": 1}'), None),
        (b'{"content": "100% of & \\u00e9"}', None),
    ],
)
def test_a_hidden_key_is_seen(body: bytes, hidden: str | None) -> None:
    """Where it cannot be cut out, the body as a whole is not kept."""
    assert SECRETS.hidden_in(SECRETS.removed_from(body)[0]) == hidden


@pytest.mark.parametrize("length", [16, 17, 31, 32, 60])
def test_every_telling_piece_of_a_key_is_cut_out(length: int) -> None:
    """Whichever sixteen of its letters are shown, and whatever stands around them."""
    key = "".join(chr(65 + (i * 7) % 58) for i in range(length))
    for start in range(length - 15):
        left, found = Secrets([key]).removed_from(b"..." + key[start : start + 16].encode() + b"...")
        assert (left, found) == (b"..." + REDACTED.encode() + b"...", True)


def test_what_is_said_to_be_compressed_in_an_unknown_way_cannot_be_searched() -> None:
    """brotli has no first bytes of its own; the header has to do."""
    assert SECRETS.hidden_in(b"\x0b\x02\x80\xff", coding="br") == "unsearchable"
    assert SECRETS.hidden_in(b'{"choices": []}', coding="br") is None


def test_without_a_key_nothing_is_hidden_and_a_placeholder_is_no_key() -> None:
    """Removing the word "none" from answers would maim them."""
    for secrets in (Secrets([]), Secrets(["none"])):
        assert secrets.removed_from(b"none") == (b"none", False)
        assert secrets.hidden_in(gzip.compress(b"x")[:-4]) is None


def test_a_bomb_is_not_unpacked() -> None:
    """A megabyte that becomes a gigabyte stops at the limit."""
    unpacked = unpack_bytes(gzip.compress(bytes(1 << 24)), 1 << 16)
    assert (len(unpacked.plain), unpacked.burst, unpacked.whole) == (1 << 16, True, False)


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=60))
def test_no_bytes_make_it_fail(body: bytes) -> None:
    """Whatever is sent can be looked at."""
    left, found = SECRETS.removed_from(body)
    assert not found or REDACTED.encode() in left
    SECRETS.hidden_in(body, coding="gzip")
