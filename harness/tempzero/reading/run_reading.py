"""A run folder in, every response read by the references that can, token by token, into its scores."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tempzero import records
from tempzero.collect.watcher import Watcher
from tempzero.config import Config, Local, Provider
from tempzero.engines import apply_form, open_local_engine, open_model, open_reader
from tempzero.engines.event_loop import run_coroutine
from tempzero.engines.local import weights
from tempzero.errors import EngineError, WeightsError
from tempzero.packs.reference_pack import describe_pack, load_reference_pack
from tempzero.reading.pack_reading import PackReference
from tempzero.reading.reader_lanes import PooledReference
from tempzero.reading.references import (
    EndpointReference,
    KnownRows,
    LogitsModel,
    LogitsReference,
    LogprobsEndpoint,
    ReferenceModel,
)
from tempzero.reading.rounding_floor import find_rounding_floor
from tempzero.reading.scorer import Scorer
from tempzero.reading.shards import Shard
from tempzero.reading.suspect_reading import UNCHANGED, ProviderAnswers, SuspectReader, Tokens
from tempzero.reading.suspects import REQUEST_SUSPECTS
from tempzero.reading.suspects.hidden_instructions import replace_system
from tempzero.reading.suspects.model_forms import describe_coarser_endpoint, describe_form
from tempzero.reading.suspects.suspect import AskedPrompt, FormSuspect, RequestSuspect
from tempzero.reading.suspects.templates import render_behind
from tempzero.reading.top_rows import BookedModel, RowBook, RowSource, SteppedModel
from tempzero.types.asked import Message
from tempzero.types.scored import SuspectReading

_NAMED_AT_MOST = 4


class Cluster(Protocol):
    """Machines that read along: see `cluster.ray_cluster.RayCluster`."""

    def open_endpoints(
        self, provider: Provider, *, environ: Mapping[str, str], lanes: int
    ) -> Sequence[LogprobsEndpoint]:
        """Readers of the endpoint, `lanes` on each machine. Raises EngineError."""

    def open_models(self, config: Config, provider: Provider) -> Sequence[ReferenceModel]:
        """The model of a `local:` provider on each machine. Raises EngineError."""


def score_run(
    path: Path,
    *,
    environ: Mapping[str, str],
    watcher: Watcher,
    shard: Shard | None = None,
    cluster: Cluster | None = None,
) -> tuple[str, ...]:
    """Let every reference that can read the responses; what was read before is not read again.

    A reference can that runs in this process, whose endpoint `reads`, or that is a pack. Of a `shard` responses are
    read alone: forms and suspects need all of them. Where a `cluster` is given its nodes read
    them, and of a model in their memory nothing but responses.

    Gives the names of the references that read. Raises EngineError, WeightsError, PackError, RunFolderError, and
    UsageError where a reference must not judge.
    """
    run = records.open_run(path)
    skipped = {s.provider for s in run.manifest.skipped}
    readers = [run.config.provider(name) for name in run.config.run.references if name not in skipped]
    readers = [p for p in readers if p.local is not None or p.reads is not None or p.pack is not None]
    with records.open_score_writer(path) as writer:
        reading = _RunReading(run, writer, environ, watcher, shard, cluster)
        for provider in readers:
            reading.read_by(provider)
        reading.say_unread_forms(readers)
    return tuple(p.name for p in readers)


class _RunReading:
    """One run read by its references, one after the other."""

    def __init__(
        self,
        run: records.Run,
        writer: records.ScoreWriter,
        environ: Mapping[str, str],
        watcher: Watcher,
        shard: Shard | None,
        cluster: Cluster | None,
    ) -> None:
        self._run, self._writer, self._environ, self._watcher = run, writer, environ, watcher
        self._shard, self._cluster = shard, cluster

    def read_by(self, provider: Provider) -> None:
        """With all that this reference can do."""
        if provider.pack is not None:
            self._read_by_pack(provider, provider.pack)
        elif provider.local is not None and self._cluster is not None:
            models = self._cluster.open_models(self._run.config, provider)
            self._read_responses(provider, PooledReference(models), lanes=len(models))
            self._watcher.say(f"{provider.name}: `tempzero score {self._run.path}` reads forms and suspects here")
        elif provider.local is not None:
            self._read_in_process(provider, provider.local)
        else:
            self._read_through_endpoint(provider)

    def say_unread_forms(self, readers: Sequence[Provider]) -> None:
        """Which servers with coarser weights none of these references could be read beside, and why."""
        beside = {p.claimed_model for p in readers if p.reads is not None}
        for name in self._run.config.score.coarser_endpoints if self._shard is None else ():
            model = self._run.config.provider(name).claimed_model
            if model not in beside:
                self._watcher.say(
                    f"not read by the form coarser:{name}: no reference that `reads:` claims its model, {model}; where "
                    "one is the same model under another name, `claims: {model: ...}` says so"
                )

    def _read_responses(self, provider: Provider, model: ReferenceModel, *, lanes: int = 1) -> Scorer:
        scorer = Scorer(self._run, provider.name, model, self._writer.append)
        holds = (Shard(number=1, of=1) if self._shard is None else self._shard).holds
        scorer.read_responses(lambda done, of: self._watcher.read(provider.name, done, of), lanes=lanes, holds=holds)
        return scorer

    def _read_by_pack(self, provider: Provider, file: str) -> None:
        """Up to where each response parts from the pack's answer; suspects and forms need a reference that computes."""
        pack = load_reference_pack(Path(file))
        described = {"engine": "packed", **describe_pack(pack, pack.seal)}
        self._read_responses(provider, PackReference(pack, described))

    def _read_through_endpoint(self, provider: Provider) -> None:
        """At each of its addresses with as many requests in flight as the provider allows."""
        with contextlib.ExitStack() as opened:
            references = self._open_lanes(provider, opened)
            lanes = len(references)
            scorer = self._read_responses(
                provider, references[0] if lanes == 1 else PooledReference(references), lanes=lanes
            )
            if self._shard is None:
                self._read_again(provider, scorer, references)
                suspects = _SuspectRound(self._run.config, provider, scorer, references[0], self._watcher)
                suspects.read_requests()
                self._read_coarser_endpoints(provider, suspects)

    def _read_again(self, provider: Provider, scorer: Scorer, references: Sequence[EndpointReference]) -> None:
        """Some of the reference's own texts once more: how much the server itself makes of one text and the other.

        With as many in flight as one machine has, so that a cluster finds what one machine does.
        """
        references = references[: provider.concurrency * (1 + len(provider.reads_also_at))]
        try:
            read = scorer.read_again(references, self._run.config.score)
        except EngineError as problem:
            self._watcher.say(f"{provider.name}: its own texts were not read again to the end: {problem}")
            return
        if read:
            how = "alone and among others" if len(references) > 1 else "alone"
            self._watcher.say(f"{provider.name}: {read} tokens of its own texts read once more, {how}")

    def _open_lanes(self, provider: Provider, opened: contextlib.ExitStack) -> list[EndpointReference]:
        addresses = (provider.base_url, *provider.reads_also_at)
        entries = [provider.model_copy(update={"base_url": address}) for address in addresses]
        known: KnownRows = {}
        if self._cluster is not None:
            of_each = [
                self._cluster.open_endpoints(e, environ=self._environ, lanes=provider.concurrency) for e in entries
            ]
            return [EndpointReference(one, known) for same in zip(*of_each, strict=True) for one in same]
        references: list[EndpointReference] = []
        texts: dict[tuple[int, ...], str] = {}
        for entry in entries * provider.concurrency:
            reader = open_reader(entry, environ=self._environ, texts=texts)
            opened.callback(lambda it: run_coroutine(it.aclose()), reader)
            references.append(EndpointReference(reader, known))
        return references

    def _read_coarser_endpoints(self, provider: Provider, suspects: _SuspectRound) -> None:
        """Every response through each server with coarser weights; one that cannot be asked leaves its form open."""
        config, say = self._run.config, self._watcher.say
        for name in config.score.coarser_endpoints:
            other = config.provider(name)
            if other.claimed_model != provider.claimed_model:
                continue
            suspect = describe_coarser_endpoint(name, other.claims.precision)
            try:
                reader = open_reader(other, environ=self._environ)
            except EngineError as problem:
                say(f"{provider.name}: not read by the form {suspect.name}: {problem}")
                continue
            try:
                say(f"{provider.name}: reading as {suspect.name}")
                suspects.read_form(suspect, EndpointReference(reader))
            except EngineError as problem:
                say(f"{provider.name}: not read to the end by the form {suspect.name}: {problem}")
            finally:
                run_coroutine(reader.aclose())

    def _read_in_process(self, provider: Provider, local: Local) -> None:
        config, say = self._run.config, self._watcher.say
        engine = open_local_engine(provider, weights.obtain_weights_for(config, local, say=say))
        folder = weights.default_cache_folder() / "readings"
        book = RowBook(folder, engine.describe())
        try:
            model = LogitsReference(engine, book)
            scorer = self._read_responses(provider, model)
            if self._shard is None:
                suspects = _SuspectRound(config, provider, scorer, model, self._watcher)
                suspects.read_requests()
                self._read_forms(provider, local, engine, scorer, suspects)
                suspects.say_cost()
        finally:
            book.close()
            run_coroutine(engine.aclose())

    def _read_forms(
        self, provider: Provider, local: Local, engine: LogitsModel, scorer: Scorer, suspects: _SuspectRound
    ) -> None:
        config, say = self._run.config, self._watcher.say
        settings, folder = config.score, weights.default_cache_folder() / "readings"
        for form in settings.own_forms if scorer.sample_for_forms(settings) or suspects.given else ():
            try:
                changed, honest = apply_form(local, form)
                other = open_model(changed, weights.obtain_weights_for(config, changed, say=say))
            except (EngineError, WeightsError) as problem:
                say(f"{provider.name}: not read by the form {form}: {problem}")
                continue
            stepped = SteppedModel(other)
            form_book = RowBook(folder, {"form": form, "model": stepped.describe(), "of": engine.describe()})
            try:
                say(f"{provider.name}: reading as {form}")
                scorer.read_form(form, engine, stepped, honest=honest, settings=settings)
                if not honest:
                    suspects.read_form(describe_form(form), BookedModel(stepped, form_book))
            finally:
                form_book.close()
                other.close()


class _SuspectRound:
    """One reference's suspects, for every provider it reads; what was read before is not read again."""

    def __init__(
        self,
        config: Config,
        provider: Provider,
        scorer: Scorer,
        model: LogitsReference | EndpointReference,
        watcher: Watcher,
    ) -> None:
        self._scorer, self._watcher, self._name = scorer, watcher, provider.name
        self._suspects = (*REQUEST_SUSPECTS, *_list_own_variants(config))
        self.given: tuple[ProviderAnswers, ...] = ()
        self._began, self._tokens = time.monotonic(), 0
        self._reader = SuspectReader(
            reference=provider.name,
            tokens=Tokens(tokenize=model.tokenize, pieces=model.pieces, end_ids=model.end_ids),
            source=model,
            exact=model.exact,
            clear_margin=find_rounding_floor(provider.claimed_model or "").clear_margin,
        )

    def read_requests(self) -> None:
        """The responses as they are, rules of the sampler on them, and other prompts."""
        self.given = tuple(given for given in self._scorer.collect_answers() if self._read_as_asked(given))
        odd = dict.fromkeys(given.provider for given in self.given if self._reader.could_be_beaten(given))
        if odd:
            names = ", ".join(odd) if len(odd) <= _NAMED_AT_MOST else f"{len(odd)} providers"
            self._watcher.say(f"{self._name}: reading {names} under suspects")
        self._write(self._reader.read_requests(self.given, self._suspects, self._scorer.earlier_suspects))
        unread = self._reader.unread
        if unread:
            self._watcher.say(f"{self._name}: {len(unread)} suspects could not be read: {unread[0]}")

    def _read_as_asked(self, given: ProviderAnswers) -> bool:
        """Under the prompts that were sent; whether that could be done."""
        done = self._scorer.earlier_suspects(given)
        try:
            plain = self._reader.read_unchanged(given)
            if UNCHANGED not in done:
                self._write([plain])
            self._write(line for line in self._reader.read_rules(given) if line.suspect not in done)
        except EngineError as problem:
            self._watcher.say(f"{self._name}: {given.provider} was not read under suspects: {problem}")
            return False
        return True

    def read_form(self, form: FormSuspect, source: RowSource) -> None:
        """Every provider's responses by another form of the model."""
        for given in self.given:
            if form.name not in self._scorer.earlier_suspects(given):
                self._write([self._reader.read_form(given, form, source)])

    def say_cost(self) -> None:
        if self._tokens:
            spent = time.monotonic() - self._began
            self._watcher.say(f"{self._name}: {self._tokens:,} tokens read under suspects, {spent:.0f} s")

    def _write(self, lines: Iterable[SuspectReading]) -> None:
        for line in lines:
            self._tokens += line.read_tokens
            self._scorer.write_suspect(line)


def _list_own_variants(config: Config) -> list[RequestSuspect]:
    """What `score.variants` adds to the list of suspects."""
    known = {s.name for s in REQUEST_SUSPECTS}
    return [
        RequestSuspect(
            name=variant.name,
            family=variant.name,
            words=f"prompts are rendered as the variant {variant.name}",
            change=_render_variant(variant.system, variant.chat_template),
        )
        for variant in config.score.variants
        if variant.name not in known
    ]


def _render_variant(system: str | None, template: str | None) -> Callable[[AskedPrompt], Sequence[int]]:
    def change(asked: AskedPrompt) -> Sequence[int]:
        if system is None:
            return asked.ids if template is None else render_behind(template)(asked)
        if template is None:
            return replace_system(system)(asked)
        rest = [m for m in asked.messages if m.role != "system"]
        return asked.render([Message(role="system", content=system), *rest], chat_template=template)

    return change
