"""In which order tests run, what none of them waits for, and what they want seen at the end of the run."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# As many processes as cores are at work already: further threads of the linear algebra only wait for each other, and
# burn their cores at it. It is read when numpy is loaded, which comes later, and by all that tests start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# A machine with other work is slow now and then; how long one example takes is not what these tests are about.
settings.register_profile("tempzero", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tempzero")

# The files that take longest go first: no core waits at the end for another that has just begun one of them.
_LONG_FILES = (
    "test_fingerprint_command.py",
    "test_nightly.py",
    "test_walks.py",
    "test_recipes.py",
    "test_code_trials.py",
    "test_serve.py",
    "test_browser.py",
    "test_thinking_engine.py",
    "test_prompt_logprobs.py",
    "test_wire_shapes.py",
    "test_extractors.py",
    "test_claims.py",
    "test_precision_nights.py",
    "test_contract_engine.py",
    "test_published.py",
    "test_reference_packs.py",
    "test_main_job.py",
    "test_fault_catalogue.py",
    "test_numpy_oracle.py",
    "test_batches.py",
    "test_chat_template.py",
    "test_hosted_suites.py",
    "test_collect.py",
    "test_pipeline.py",
    "test_odd_sources.py",
    "test_asked_beside.py",
    "test_nightly_engine.py",
    "test_contract_faults.py",
    "test_readers.py",
    "test_weights.py",
    "test_architecture.py",
    "test_names.py",
    "test_model_chain.py",
    "test_hosted_first.py",
    "test_github_jobs.py",
    "test_door.py",
    "test_store.py",
    "test_streams.py",
    "test_dialects.py",
    "test_check_probes.py",
    "test_conversations.py",
    "test_repeated_readings.py",
)
# Whole runs, many examples of what other files reach too, and what reads the repository's texts: counting lines makes
# half as much again of each, and all of them together reach one line in two hundred that no other test does.
_NOT_COUNTED = {
    "test_agreement.py",
    "test_architecture.py",
    "test_browser.py",
    "test_canonical_json.py",
    "test_careless_maps.py",
    "test_catalogue_on_the_wire.py",
    "test_check_logprobs.py",
    "test_check_probes.py",
    "test_coarser_endpoint.py",
    "test_collect.py",
    "test_cuts.py",
    "test_dialects.py",
    "test_divergence.py",
    "test_extractors.py",
    "test_fault_catalogue.py",
    "test_figures_return.py",
    "test_forgeries.py",
    "test_fuzz.py",
    "test_hosted_first.py",
    "test_hosted_suites.py",
    "test_html.py",
    "test_intervals.py",
    "test_kinds_of_false_figures.py",
    "test_lanes.py",
    "test_llama_cpp.py",
    "test_main_job.py",
    "test_markdown.py",
    "test_mixed_settings.py",
    "test_model_chain.py",
    "test_names.py",
    "test_nightly.py",
    "test_nights_by_part.py",
    "test_no_false_claim.py",
    "test_no_key_anywhere.py",
    "test_numpy_oracle.py",
    "test_overview.py",
    "test_parting_rate.py",
    "test_past_records.py",
    "test_planted_differences.py",
    "test_planted_keys.py",
    "test_precision_nights.py",
    "test_precision_reading.py",
    "test_prompt_logprobs.py",
    "test_published.py",
    "test_publishing.py",
    "test_readme.py",
    "test_redaction.py",
    "test_report.py",
    "test_request_runs.py",
    "test_rounding.py",
    "test_run_facts.py",
    "test_sampled_by_rights.py",
    "test_screen.py",
    "test_shipped_prompts.py",
    "test_standing.py",
    "test_streaming.py",
    "test_streams.py",
    "test_thinking.py",
    "test_thinking_engine.py",
    "test_unread_eight_bits.py",
    "test_visible.py",
    "test_wire_shapes.py",
}
_LINE = "line written at the end"


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: while a test waits, for a process or for a clock, another goes on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


def pytest_configure() -> None:
    """No test cuts the power: waiting some thousand times until the disk has what was written shows nothing."""
    os.fsync = lambda fd: None


def pytest_collection_finish() -> None:
    """What is loaded by now stays until the end: nobody looks through it again for what can be thrown away.

    And what tests throw away is looked for less often than every 700 objects: that took a twentieth of all their time.
    """
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(_LONG_FILES)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))
    for item in items:
        if item.path.name in _NOT_COUNTED:
            item.add_marker("no_cover")


@pytest.fixture
def written_at_the_end(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a line for the terminal's summary; it travels with the test's report, also out of a worker process."""
    return lambda line: record_property(_LINE, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            # A test that fails and then fails to clean up has two reports with the same lines.
            if report.when == "call":
                for name, line in report.user_properties:
                    if name == _LINE:
                        terminalreporter.write_line(str(line))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This folder, with everything that the examples of the library need in it."""
    from door_workplace import make_workplace  # loads the package, which the process that hands out tests never needs

    monkeypatch.chdir(tmp_path)
    with make_workplace(tmp_path):
        yield tmp_path
