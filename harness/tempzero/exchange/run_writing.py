"""A Survey and the same Answers once more in, an ordinary run folder out."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tempzero import config, records, suites
from tempzero.canonical_json import to_canonical_json
from tempzero.config import Config
from tempzero.errors import RunFolderError
from tempzero.exchange.foreign_answers import ForeignAnswer, make_row_serializer, parse_messages
from tempzero.exchange.keys import AnswerKey, ImportLane, fitting_name
from tempzero.exchange.outcomes import build_outcome
from tempzero.exchange.recipe import Recipe
from tempzero.exchange.sources import Source
from tempzero.exchange.survey import Survey
from tempzero.exchange.table_reading import foreign_to_canonical_json
from tempzero.records.files import move_into_place
from tempzero.types.asked import Prompt, Suite, Trial
from tempzero.types.recorded import Attempt, Exchange, Manifest, Times, WireRequest, WireResponse

COMMON_MODEL = "imported"
"""What providers are taken to claim where the records do not say: they are compared with each other."""

_KEPT_REQUESTS = 100_000


def write_run(
    append: Callable[[records.RunWriter], object],
    survey: Survey,
    recipe: Recipe,
    source: Source,
    *,
    results: Path,
    name: str | None,
) -> Path:
    """Write results/<now>-<name>/ and give its path. Raises RunFolderError when it cannot be written.

    `append` is given the writer and appends the attempts.

    The folder takes its name when it is whole: half an import would look like a run, and its figures be false.
    """
    now = datetime.now(UTC)
    manifest = _import_manifest(survey, recipe, source, now, name or fitting_name(Path(source.name).stem))
    path, unfinished = results / manifest.run_id, results / f".unfinished-{manifest.run_id}"
    if path.exists():
        raise RunFolderError(f"{path}: is there already; wait a second or choose another --name")
    try:
        written = records.create_run(unfinished, manifest)
        with records.open_run_writer(written, now=now.isoformat(timespec="milliseconds")) as writer:
            append(writer)
            records.finish_session(written, writer, now=datetime.now(UTC).isoformat(timespec="milliseconds"))
        move_into_place(written, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return path


# --- records ---------------------------------------------------------------------------------


def import_attempts(answers: Iterable[ForeignAnswer], survey: Survey, recipe: Recipe) -> Iterator[Attempt]:
    """The attempts of answers, in their order."""
    keys = survey.keys
    keys.restart()
    ranks = {lane.number: lane.ranks() for lane in keys.every_lane()}
    most = max((lane.most_repeats for lane in keys.every_lane()), default=1)
    earlier: dict[int, int] = {}
    request, row = make_request_builder(recipe), make_row_serializer(recipe)
    for answer in answers:
        key = keys.of(answer)
        repeat, packed, number = ranks[key.lane.number][key.repeat], key.packed, 1
        if packed in survey.retried:
            number = earlier[packed] = earlier.get(packed, 0) + 1
        block = (key.lane.condition_number * most + repeat) * len(keys.questions) + key.question.number
        yield Attempt(
            trial=Trial(
                provider=key.lane.who.name, prompt=key.question.id, condition=key.lane.condition, repeat=repeat
            ),
            number=number,
            block=block,
            exchange=Exchange(
                request=request(answer, key),
                response=import_response(row(answer)),
                times=import_times(answer),
                outcome=build_outcome(answer, as_is=recipe.as_is),
            ),
        )


def make_request_builder(recipe: Recipe) -> Callable[[ForeignAnswer, AnswerKey], WireRequest]:
    """The request of an answer: as it was recorded, else what the table says of it. Equal ones are made once."""
    made: dict[tuple[int, int, int | None], WireRequest] = {}
    url = f"imported:{recipe.format or 'table'}"

    def request(answer: ForeignAnswer, key: AnswerKey) -> WireRequest:
        if answer.request is not None:
            return _import_request(url, _escape_surrogates(answer.request))
        at = (key.lane.number, key.question.number, answer.seed)
        found = made.get(at)
        if found is None:
            if len(made) >= _KEPT_REQUESTS:
                made.clear()
            found = made[at] = _import_request(url, _request_body(answer, key))
        return found

    return request


def _import_request(url: str, body: str) -> WireRequest:
    return WireRequest(method="IMPORT", url=url, headers=(), body=body, sha256=_hash_text(body))


def _escape_surrogates(text: str) -> str:
    """A recorded request's own text, made safe for a UTF-8 file."""
    return text.encode("utf-8", "backslashreplace").decode()


def _request_body(answer: ForeignAnswer, key: AnswerKey) -> str:
    said: dict[str, Any] = {
        "messages": [{"role": m.role, "content": m.content} for m in parse_messages(key.question.text)]
    }
    if key.question.text is None:
        said = {"prompt_id": key.question.id}
    for name in ("model", "temperature", "top_p", "seed", "max_tokens"):
        value = getattr(answer, name)
        if value is not None:
            said[name] = value
    return foreign_to_canonical_json(said)


def import_response(body: str) -> WireResponse:
    """A row as it is kept, in the place of what a server sent."""
    data = body.encode()
    return WireResponse(
        status=0,
        headers=(),
        body=body,
        body_base64=None,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        complete=True,
    )


def import_times(answer: ForeignAnswer) -> Times:
    """When it was asked, and how long it took, where that was recorded."""
    seconds = answer.latency_s
    if seconds is None and answer.latency_ms is not None:
        seconds = answer.latency_ms / 1000
    return Times(started_at=answer.date, first_byte_s=None, end_s=seconds, in_flight=0)


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- the manifest ----------------------------------------------------------------------------


def _import_manifest(survey: Survey, recipe: Recipe, source: Source, now: datetime, name: str) -> Manifest:
    settings = _import_config(survey, recipe, source, name)
    suite = _import_suite(survey, recipe)
    written = {field: expression.written for field, expression in recipe.fields.items()}
    content: dict[str, Any] = {
        "source": source.sha256,
        "format": recipe.format,
        "mapping": written,
        "as_is": recipe.as_is,
    }
    if recipe.where:
        content["where"] = [w.written for w in recipe.where]
    return Manifest(
        format=records.RUN_FORMAT,
        run_id=f"{now:%Y%m%dT%H%M%SZ}-{name}",
        created_at=now.isoformat(timespec="seconds"),
        config=settings.model_dump(mode="json"),
        suite=suite,
        plan_digest=_hash_text(to_canonical_json({**content, "suite": suite.digest})),
        plan_seed=0,
        skipped=(),
        versions=_tool_versions(),
        host={"system": "not known: imported records"},
        engines={p.name: {"engine": "imported", **content} for p in settings.providers},
        notes=survey.notes,
    )


def _import_config(survey: Survey, recipe: Recipe, source: Source, name: str) -> Config:
    providers = [_provider_entry(number, survey, recipe, source) for number in range(len(survey.keys.providers))]
    run: dict[str, Any] = {"name": name}
    if recipe.reference is not None:
        names = {w.written: w.name for w in survey.keys.providers.values()}
        run["reference"] = names.get(recipe.reference, recipe.reference)
    value = {"version": 1, "providers": providers, "run": run}
    return config.parse_config(value, source="import")


def _provider_entry(number: int, survey: Survey, recipe: Recipe, source: Source) -> dict[str, Any]:
    lanes = [lane for lane in survey.keys.every_lane() if lane.who.number == number]
    who = lanes[0].who
    return {
        "name": who.name,
        "imported": {"source": source.name, "sha256": source.sha256, "format": recipe.format or "table"},
        "model": who.model or who.written,
        "claims": {"model": who.claims or COMMON_MODEL},
        "repeats": max(lane.most_repeats for lane in lanes),
        "temperature": _common_setting(lanes, "temperature", low=0, high=2),
        "top_p": _common_setting(lanes, "top_p", low=1e-9, high=1),
        "max_tokens": _common_setting(lanes, "max_tokens", low=1, high=2**53),
        "seed": None,
    }


def _common_setting(lanes: Sequence[ImportLane], name: str, *, low: float, high: float) -> Any:
    """The one value that all have, else None: not known, not the same under every condition, or no such setting."""
    distinct = {lane.sampling[name] for lane in lanes}
    value = distinct.pop() if len(distinct) == 1 else None
    return value if value is not None and low <= value <= high else None


def _import_suite(survey: Survey, recipe: Recipe) -> Suite:
    prompts = tuple(
        Prompt(
            id=question.id,
            messages=parse_messages(question.text),
            family=question.family_name,
            extractor=recipe.extractor,
            expected=question.expected,
            tools=question.tools,
        )
        for question in survey.keys.questions.values()
    )
    return Suite(prompts=prompts, digest=suites.digest_prompts(prompts))


def _tool_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    with suppress(importlib.metadata.PackageNotFoundError):
        versions["tempzero"] = importlib.metadata.version("tempzero")
    return versions
