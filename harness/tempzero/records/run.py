"""A run folder in, what it holds out: records, scores, judgements, and whether they are what was written."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tempzero import config
from tempzero.errors import RunFolderError
from tempzero.records.anchoring import check_listed_parts, check_lists, find_root, list_record_hashes
from tempzero.records.chain import (
    JUDGEMENT_CHAIN,
    RECORD_CHAIN,
    SCORE_CHAIN,
    decode_line,
    follow_chain,
    genesis_hash,
    hash_line,
    read_chain,
    read_part,
    read_values,
)
from tempzero.records.layout import (
    DIRECTION_PACK,
    FIRST_TOKENS,
    MANIFEST,
    PREFLIGHT,
    READABLE_FORMATS,
    RECORDS,
    RUN_FORMAT,
    SCORES,
    SCORES_SEAL,
    list_parts,
)
from tempzero.types.asked import Trial
from tempzero.types.recorded import ANSWERED, Manifest, Outcome, Record, RecordView, Seal, Times, WireResponse
from tempzero.types.scored import Judgement, Reading, ScoreLine


# A record line without its bytes: msgspec skips what a type does not name, so reading a
# million of them neither builds nor keeps the bodies.
# Structs are made faster than dataclasses, and no collector looks at them: they are part of no cycle.
class _LeanRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _RequestBody:
    sha256: str
    body: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _RequestOfExchange:
    request: _RequestBody


@dataclass(frozen=True, kw_only=True, slots=True)
class _RequestOfAttempt:
    exchange: _RequestOfExchange


@dataclass(frozen=True, kw_only=True, slots=True)
class _RequestOfRecord:
    attempt: _RequestOfAttempt


class _LeanExchange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    request: _LeanRequest
    times: Times
    outcome: Outcome


class _LeanAttempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    trial: Trial
    number: int
    block: int
    exchange: _LeanExchange

    @property
    def request_sha256(self) -> str:
        return self.exchange.request.sha256

    @property
    def times(self) -> Times:
        return self.exchange.times

    @property
    def outcome(self) -> Outcome:
        return self.exchange.outcome


class _LeanRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    attempt: _LeanAttempt


_decode_lean = msgspec.json.Decoder(_LeanRecord).decode
_decode_seal = msgspec.json.Decoder(Seal).decode
_decode_request = msgspec.json.Decoder(_RequestOfRecord).decode

# What a request calls the limit of its answer's tokens; a provider's own name for it stands in its configuration.
_LIMIT_NAMES = ("max_tokens", "max_completion_tokens", "max_new_tokens", "max_output_tokens")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunProgress:
    """What a run folder already holds: where a resumed run goes on."""

    attempts: dict[Trial, int]
    complete: frozenset[Trial]


class Run:
    """A run folder opened for reading. Open it with `open_run`."""

    def __init__(self, path: Path, manifest: Manifest, genesis: str = "") -> None:
        self.path = path
        self.genesis = genesis
        self.manifest = manifest
        self.config = config.parse_config(_renew_keys(manifest.config), source=str(path / MANIFEST))

    def parts(self) -> tuple[Path, ...]:
        """The files that hold its records, in order; each can be read by itself (`read_part_views`)."""
        return list_parts(self.path, RECORDS)

    def listed_parts(self) -> dict[str, str]:
        """The parts of the records by name, with the SHA-256 of each, as listed when collecting came to its end.

        They need not be on this machine. Empty where collecting did not come to its end.
        """
        return list_record_hashes(self.path)

    def check_listed_parts(self) -> None:
        """Raise RunFolderError unless the parts here are the listed ones, byte for byte."""
        check_listed_parts(self.path)

    def records(self) -> Iterator[Record]:
        """Every record with its exact bytes, in order. Raises RunFolderError on a damaged line."""
        return read_chain(self.path, RECORD_CHAIN)

    def views(self) -> Iterator[RecordView]:
        """Every record without its bytes, in order: fast and small. Raises RunFolderError."""
        for part in self.parts():
            yield from read_part_views(part)

    def token_limits(self, requests: Collection[str]) -> dict[str, int]:
        """The token limit that each of these requests (by the SHA-256 of its body) sent; without those that sent none.

        Raises RunFolderError on a damaged line.
        """
        if not requests:
            return {}
        names = {*_LIMIT_NAMES, *(p.parameter_names.max_tokens for p in self.config.providers)}
        wanted, found = set(requests), dict[str, int]()
        for record in (one for part in self.parts() for one in read_values(part, _decode_request)):
            request = record.attempt.exchange.request
            if request.sha256 in wanted:
                wanted.discard(request.sha256)
                limit = _read_token_limit(request.body, names)
                if limit is not None:
                    found[request.sha256] = limit
            if not wanted:
                break
        return found

    def hashed_views(self) -> Iterator[tuple[str, RecordView]]:
        """Every record without its bytes, after the SHA-256 of its line, by which scores name it."""
        for part in self.parts():
            yield from read_hashed_part_views(part)

    def score_lines(self) -> Iterator[ScoreLine]:
        """Every line of its scores, in order; none where nothing was scored. Raises RunFolderError."""
        return read_chain(self.path, SCORE_CHAIN)

    def judgements(self) -> Iterator[Judgement]:
        """Every judgement, in order; none where nothing had to be tried out. Raises RunFolderError."""
        return read_chain(self.path, JUDGEMENT_CHAIN)

    def reading(self) -> Reading:
        """What references read of this run: all lines of its scores, sorted by kind."""
        lines = list(self.score_lines())
        return Reading(
            readers=tuple(one.reader for one in lines if one.reader is not None),
            scored=tuple(one.scored for one in lines if one.scored is not None),
            unread=tuple(one.unread for one in lines if one.unread is not None),
            forms=tuple(one.form for one in lines if one.form is not None),
            suspects=tuple(one.suspect for one in lines if one.suspect is not None),
        )

    def lines(self) -> Iterator[bytes]:
        """Every record's line as it stands in its file, without its newline, in order: for passing evidence on."""
        return (line for part in self.parts() for _, line in read_part(part))

    def preflights(self) -> int:
        """Requests of the checks before its sessions."""
        path = self.path / PREFLIGHT
        if not path.is_file():
            return 0
        with path.open("rb") as lines:
            return sum(1 for _ in lines)

    def progress(self) -> RunProgress:
        """Attempts so far by trial, and the trials that have an answer (whole or cut)."""
        attempts: dict[Trial, int] = {}
        complete = set()
        for view in self.views():
            attempts[view.trial] = max(view.number, attempts.get(view.trial, 0))
            if view.outcome.status in ANSWERED:
                complete.add(view.trial)
        return RunProgress(attempts=attempts, complete=frozenset(complete))

    def verify(self) -> str:
        """Check the hash chain from the plan digest to the last line; give the last line's hash.

        Raises RunFolderError naming the first line that was changed, removed or moved, and
        when fewer or other records are there than the last finished session left behind.
        """
        ends = {session.records: session.head for session in self.manifest.sessions if session.head is not None}
        found, head = {0: self.genesis}, self.genesis
        read = self._verify_scores()
        for count, one in enumerate(follow_chain(self.path, RECORD_CHAIN, self.genesis), start=1):
            _check_body_hashes(one.line, one.place)
            head = one.head
            read.pop(head, None)
            if count in ends:
                found[count] = head
        for session in self.manifest.sessions:
            if session.head is not None and found.get(session.records) != session.head:
                raise RunFolderError(
                    f"{self.path / RECORDS}: the session of {session.started_at} left {session.records} records; "
                    "they are not all there any more, or not the same"
                )
        for missing, place in read.items():
            raise RunFolderError(f"{place}: no line of the {RECORDS} has the hash {missing[:12]}...")
        for _ in follow_chain(self.path, JUDGEMENT_CHAIN, self.genesis):
            pass
        return head

    def verify_files(self) -> str:
        """The same, and that every file of the run and of its reports has the hash that was listed when it was made."""
        head = self.verify()
        check_lists(self.path)
        within = self.first_tokens()
        if within is not None:
            within.verify_files()
        return head

    def first_tokens(self) -> Run | None:
        """The run inside this one that asked for log-probabilities of first tokens; None where nobody was asked.

        One that was stopped before it had its pack asked nobody.
        """
        folder = self.path / FIRST_TOKENS
        within = open_run(folder) if (folder / MANIFEST).is_file() else None
        if within is not None and not within.manifest.sessions and not (folder / DIRECTION_PACK).is_file():
            return None
        return within

    def root(self) -> str | None:
        """The hash that stands for all that was collected; None where collecting did not come to its end."""
        return find_root(self.path)

    def _verify_scores(self) -> dict[str, str]:
        """Check the chain of the scores; give the hashes of the records that they are about, with a place of each."""
        sealed = self.path / SCORES_SEAL
        seal = decode_line(_decode_seal, sealed.read_bytes(), sealed, 1) if sealed.is_file() else self.manifest.scores
        about = dict[str, str]()
        held = seal is None or seal.lines == 0
        for lines, one in enumerate(follow_chain(self.path, SCORE_CHAIN, self.genesis), start=1):
            read = one.line.scored or one.line.unread
            if read is not None:
                about.setdefault(read.record_sha256, one.place)
            held = held or (seal is not None and (seal.lines, seal.head) == (lines, one.head))
        if seal is not None and not held:
            raise RunFolderError(
                f"{self.path / SCORES}: the last scoring left {seal.lines} lines; "
                "they are not all there any more, or not the same"
            )
        return about


def read_part_views(part: Path) -> Iterator[RecordView]:
    """Every record of one part without its bytes, in order. Raises RunFolderError."""
    for record in read_values(part, _decode_lean):
        yield record.attempt


def read_hashed_part_views(part: Path) -> Iterator[tuple[str, RecordView]]:
    """The same, each after the SHA-256 of its line."""
    for number, line in read_part(part):
        yield hash_line(line), decode_line(_decode_lean, line, part, number).attempt


def open_run(path: Path) -> Run:
    """Open results/<run>. Raises RunFolderError when it is not a run folder or of another format."""
    file = path / MANIFEST
    try:
        data = file.read_bytes()
    except OSError:
        raise RunFolderError(f"{path}: not a run folder: it has no {MANIFEST}") from None
    try:
        written = msgspec.json.decode(data, type=dict[str, Any])
        version = written.get("format")
        if version not in READABLE_FORMATS:
            raise RunFolderError(f"{file}: written in format {version}; this tempzero reads format {RUN_FORMAT}")
        return Run(path, msgspec.json.decode(data, type=Manifest), genesis_hash(written))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RunFolderError(f"{file}: damaged: {error}") from None


def _renew_keys(written: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of a manifest by today's keys.

    Before there was a version `request` was called `extra_body`, and a direction pack was named for nights alone.
    """
    providers, nightly, run = (written.get(name) for name in ("providers", "nightly", "run"))
    if not isinstance(providers, list):
        return written
    renewed = {**written, "providers": [_renew_provider_keys(provider) for provider in providers]}
    if isinstance(nightly, dict) and isinstance(run, dict) and "direction_pack" in nightly:
        renewed["nightly"] = {key: value for key, value in nightly.items() if key != "direction_pack"}
        renewed["run"] = {**run, "direction_pack": nightly["direction_pack"]}
    return renewed


def _renew_provider_keys(provider: Any) -> Any:
    if not isinstance(provider, dict) or "extra_body" not in provider:
        return provider
    return {"request" if key == "extra_body" else key: value for key, value in provider.items()}


def _read_token_limit(body: str, names: Collection[str]) -> int | None:
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return None  # a recorded request of another tool may be anything
    limits = {v for k, v in fields.items() if k in names and isinstance(v, int) and not isinstance(v, bool) and v > 0}
    return limits.pop() if len(limits) == 1 else None


def _check_body_hashes(record: Record, place: str) -> None:
    """The bodies inside a line must have the hashes that stand beside them."""
    request, response = record.attempt.exchange.request, record.attempt.exchange.response
    bodies: list[tuple[str, bytes | None, str]] = [("request", request.body.encode(), request.sha256)]
    if response is not None:
        bodies.append(("response", _read_body(response), response.sha256))
    for what, raw, expected in bodies:
        if raw is None or hashlib.sha256(raw).hexdigest() != expected:
            raise RunFolderError(f"{place}: the {what} body does not have the hash recorded with it")


def _read_body(response: WireResponse) -> bytes | None:
    """The bytes of a response as recorded; None where what is recorded stands for none."""
    if response.body is not None:
        return response.body.encode()
    try:
        return base64.b64decode(response.body_base64 or "", validate=True)
    except ValueError:
        return None
