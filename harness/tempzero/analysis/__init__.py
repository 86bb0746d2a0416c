"""A Run in, an Analysis out. Pure: same folder, same value.

part_counts    a part of the records -> a row of small numbers a record, each distinct text once
counting_processes   parts -> the counts of each, by several processes
merged_counts  counts of parts -> those of the run
waiting_rows   rows part by part -> rows lane by lane, on the disk where they are many
fact_files, run_facts   counts <-> Parquet files beside the records, and SQL over those of many runs
observations   counts of a run -> one row a trial, in columns
texts          distinct texts -> what is computed once for each
tallies        one provider's rows -> counts for each prompt
provider_figures, usage_figures, pair_figures   tallies -> figures, of one provider and of two
registry       what metrics, kinds of figures, rules and causes there are, and what each means
judged         what had to be tried out -> which answers wait, what the others came to
unread         tallies -> what each extractor could not read
round_histories   records of conversations -> which rounds were asked with the same history
itself         a tally -> would the test accuse the provider of differing from itself
book           values for each prompt -> figures with intervals, by family
call_counts    tallies -> what vendor verifiers count of requests with tools
conversation_paths   tallies and pairs -> in which round conversations part
peer_camps     pairs of peers that can be told apart -> camps, the odd ones, what is said of which pair
declared_forms   what was read -> how the precision that each provider declares stands by it
reference_levels   comparisons with a reference and what it read -> how each provider stands to it
reading        what references read token by token -> figures, causes, findings
precision_reading, shown_precision   log-probabilities of first tokens -> the form of the weights, before causes of size
kept_answers   every distinct answer, with who gave it how often -> those that a report has room for
response_counts   tallies -> how trials ended, which models answered, what was odd about answers
findings, pair_findings, reasoning_findings, evidence, notes, conditions, examples   -> what is said, and its proof
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tempzero import stats
from tempzero.analysis import call_figures, provider_figures, usage_figures
from tempzero.analysis.book import Book
from tempzero.analysis.call_counts import count_calls
from tempzero.analysis.conversation_paths import follow_conversations
from tempzero.analysis.declared_forms import collect_declarations, soften_effects
from tempzero.analysis.evidence import Case
from tempzero.analysis.examples import build_prompt_rows, build_survival_curves, pick_divergences
from tempzero.analysis.findings import collect_findings, sort_findings
from tempzero.analysis.kept_answers import keep_answers
from tempzero.analysis.notes import collect_notes
from tempzero.analysis.observations import Observations, PartCounter, observe_run
from tempzero.analysis.pair_figures import Pair, compare_pairs, enter_repetition_excess, pair_conditions, pair_tallies
from tempzero.analysis.part_counts import NOT_SAID
from tempzero.analysis.parting_figures import enter_parting_rates
from tempzero.analysis.peer_camps import find_peer_camps
from tempzero.analysis.precision_reading import find_contradicted_claims, read_precision
from tempzero.analysis.read_counts import count_read_responses
from tempzero.analysis.reference_reading import build_reference_reading, tell_kind_of_divergence
from tempzero.analysis.registry import VOCABULARY
from tempzero.analysis.response_counts import count_endings, count_flags, count_served_models
from tempzero.analysis.self_comparison import compare_halves
from tempzero.analysis.tallies import Tally, tally_lane
from tempzero.analysis.texts import study_texts
from tempzero.analysis.unread_answers import count_unread_answers, note_unjudged_answers
from tempzero.config import Config, Provider
from tempzero.records import Run
from tempzero.types.concluded import Analysis, FailureCount, ProviderFacts
from tempzero.types.scored import Reading

__all__ = ["analyse"]


def analyse(
    run: Run,
    tell: Callable[[str, float], None] = lambda phase, share: None,
    *,
    count: PartCounter | None = None,
) -> Analysis:
    """Compute everything a report needs from a run folder, once. `tell` hears how far each phase of it has come.

    `count` gives the counts of the records' parts where they are not to be read here.

    Providers and pairs come in the order of their names, so that nothing depends on the order in
    which they are configured or answered. Raises RunFolderError for damaged or foreign records.

    >>> analysis = tempzero.analyse(tempzero.open_run("results/20260102T030405Z-example"))
    >>> [(f.left, round(f.estimate.value, 3)) for f in analysis.figures if f.metric == "emr" and f.family is None]
    [('a', 1.0), ('b', 0.778)]
    """
    seen = observe_run(run, tell, count)
    scored = run.reading()
    precision = read_precision(run)
    case, book = _build_case(seen, run.config, scored, len(precision.hosts), tell)
    shown = pick_divergences(case)
    rows = build_prompt_rows(case)
    kept = keep_answers(case, rows)
    read = build_reference_reading(
        case,
        book,
        scored,
        shown,
        run.config.score.honest_endpoints,
        kept.read_trials(),
        precision,
        collect_declarations(run.config, precision.list_readings()),
    )
    found = soften_effects(tell_kind_of_divergence(collect_findings(case), read.reading), read.levels)
    coarser = find_contradicted_claims(run, precision, case.budget["precision"])
    manifest = run.manifest
    skipped = {s.provider for s in manifest.skipped}
    return Analysis(
        run_id=manifest.run_id,
        created_at=manifest.created_at,
        suite_digest=manifest.suite.digest,
        plan_digest=manifest.plan_digest,
        versions=manifest.versions,
        host=manifest.host,
        providers=tuple(_provider_facts(p, run.config) for p in run.config.providers if p.name not in skipped),
        references=tuple(r for r in run.config.run.references if r not in skipped),
        absent_references=tuple(r for r in run.config.run.references if r in skipped),
        skipped=manifest.skipped,
        prompts=seen.suite_size,
        records=seen.records,
        figures=book.figures(),
        failures=_count_failures(seen),
        findings=sort_findings((*found, *read.findings, *coarser), VOCABULARY.rules),
        curves=build_survival_curves(case),
        divergences=shown,
        prompt_rows=rows,
        notes=(*manifest.notes, *note_unjudged_answers(seen), *collect_notes(case)),
        vocabulary=VOCABULARY,
        endings=manifest.sessions[-1].endings if manifest.sessions else (),
        reading=read.reading,
        unread_answers=tuple(count_unread_answers(seen, case.texts, case.tallies)),
        read_counts=tuple(count_read_responses(scored)),
        outcomes=tuple(count_endings(case.tallies, case.texts)),
        served=case.served,
        flags=case.flags,
        levels=read.levels,
        camps=find_peer_camps(case),
        asked=kept.asked,
        answers=kept.answers,
        conversations=follow_conversations(case),
        call_counts=count_calls(case),
        precision=precision.list_readings(),
        moved_alike=precision.list_camps(),
    )


def _build_case(
    seen: Observations, config: Config, reading: Reading, fingerprints: int, tell: Callable[[str, float], None]
) -> tuple[Case, Book]:
    """Count, compare and enter every figure."""
    tell("comparing", 0.0)
    texts, new = study_texts(seen)
    tallies = []
    for lane in seen.lanes:
        text = lane.text.copy()
        text[text != NOT_SAID] = new[text[text != NOT_SAID]]
        tallies.append(tally_lane(replace(lane, text=text), texts, seen.prompts))
        tell("comparing", 0.5 * len(tallies) / len(seen.lanes))
    book, references = Book(seen.prompts), config.run.references
    for one in tallies:
        provider_figures.enter_coverage(book, one, texts, len(seen.prompts))
        provider_figures.enter_repeat_agreement(book, one, texts)
    across, pairs = pair_conditions(tallies), pair_tallies(tallies, references)
    budget = stats.divide_budget(config.gates.alpha, _count_tests(tallies, across, pairs, reading, fingerprints))
    halves = compare_halves(book, tallies, config.gates.alpha)
    conditions = compare_pairs(book, across, texts, budget["conditions"])
    comparisons = compare_pairs(book, pairs, texts, budget["camps"] or config.gates.alpha, config.run)
    if any(prompt.tools for prompt in seen.prompts):
        for compared in (c for c in comparisons if c.pair.listed):
            call_figures.enter_call_agreement(book, compared.pair, texts, seen.prompts)
    enter_parting_rates(book, tallies, (*comparisons, *conditions), texts)
    for one in tallies:
        provider_figures.enter_repetition(book, one)
        provider_figures.enter_answer_figures(book, one)
        call_figures.enter_call_figures(book, one, texts, seen.prompts)
        usage_figures.enter_identity_counts(book, one, seen.identities)
        usage_figures.enter_speed(book, one)
        usage_figures.enter_cost(book, one)
    enter_repetition_excess(book, tallies, references)
    tell("comparing", 1.0)
    served = tuple(count_served_models(tallies, seen.identities))
    return Case(
        prompts=seen.prompts,
        identities=seen.identities,
        flags=tuple(count_flags(seen, tallies, served)),
        served=served,
        texts=texts,
        tallies=tallies,
        comparisons=comparisons,
        conditions=conditions,
        finish_reasons=seen.finish_reasons,
        halves=halves,
        references=references,
        alpha=config.gates.alpha,
        budget=budget,
    ), book


def _count_tests(
    tallies: Sequence[Tally], across: Sequence[Pair], pairs: Sequence[Pair], reading: Reading, fingerprints: int
) -> dict[stats.Family, int]:
    """How many tests of each kind the run makes, as far as who was asked and what decides that."""
    to_reference = sum(p.kind == "reference" for p in pairs)
    peers = sum(p.kind == "cross" and not p.decided for p in pairs)
    read = to_reference if reading.scored else 0
    graded = peers + to_reference if any(t.correct_rows[0].size for t in tallies) else 0
    return {
        "camps": peers,
        "rounding": read,
        "causes": read,
        "precision": fingerprints,
        "conditions": len(across),
        "first_answers": sum(t.k > 2 for t in tallies),
        "answers": graded,
        "repetition": to_reference,
        "loops": to_reference,
    }


def _count_failures(seen: Observations) -> tuple[FailureCount, ...]:
    """How often each provider's attempts failed in which way, and how many trials were never asked."""
    found = [
        FailureCount(provider=provider, kind=kind, count=one.count, prompts=len(one.prompts), said=one.said)
        for (provider, kind), one in seen.failures.items()
    ]
    never: dict[str, list[int]] = {}
    for lane in seen.lanes:
        planned = provider_figures.count_planned_trials(lane, len(seen.prompts))
        asked = np.bincount(lane.prompt, minlength=len(seen.prompts))
        left = never.setdefault(lane.provider.name, [0, 0])
        left[0] += int(planned.sum()) - lane.prompt.size
        left[1] = max(left[1], int((planned > asked).sum()))
    found += [
        FailureCount(provider=provider, kind="not_asked", count=count, prompts=prompts)
        for provider, (count, prompts) in never.items()
        if count
    ]
    return tuple(sorted(found, key=lambda one: (one.provider, one.kind)))


def _provider_facts(provider: Provider, config: Config) -> ProviderFacts:
    return ProviderFacts(
        name=provider.name,
        model=provider.model,
        claimed_model=provider.claimed_model,
        claimed_precision=provider.claims.precision,
        is_reference=provider.name in config.run.references,
        engine=provider.engine,
        concurrency=provider.concurrency,
        repeats=provider.repeats,
        temperature=provider.temperature,
        pinned=provider.pinned,
    )
