"""The recipes of CONTRIBUTING.md, followed to the letter in a copy of the repository: what they name is enough."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from loopback import Call, Loopback, Reply, completion

ROOT = Path(__file__).parent.parent
IMPORTS = "from __future__ import annotations\n"


class Edit(NamedTuple):
    """What is written at a place: behind a text that stands there once, at the end, or into a new file."""

    place: str
    text: str
    behind: str = ""


PROVIDER = """
  - name: {name}
    base_url: http://127.0.0.1:${{SERVER_PORT}}/v1
    model: {name}-8b
    api_key_env: ACME_API_KEY
    repeats: 3
    claims: {{model: Acme-8B}}
"""

# A measure of single texts ...
CAPITAL_SHARE = '''

def capital_share(text: str) -> float | None:
    """Capitals / letters; None without letters."""
    letters = [c for c in text if c.isalpha()]
    return sum(c.isupper() for c in letters) / len(letters) if letters else None


CAPITAL_SHARE = Metric(
    name="capital_share",
    unit="share",
    kinds=("repetition",),
    title="Capitals",
    definition="Share of the letters that are capitals.",
    source="counted",
    one_means="every letter is a capital",
)
'''
CAPITAL_SHARE_TEST = '''

def test_capitals_are_counted_among_letters_only() -> None:
    """Digits are neither; a text without letters has no share."""
    from tempzero.metrics.repetition import capital_share

    assert (capital_share("ABcd 42"), capital_share("42")) == (0.5, None)
'''
# ... one of a provider's counts, and one of two providers'.
COUNTED = '''

def count_singletons(counts: Counts) -> Floats:
    """Outputs that came once; NaN for an empty cell."""
    once = sum_by_index(counts.cell, (counts.count == 1).astype(np.float64), counts.cells)
    return np.where(np.bincount(counts.cell, minlength=counts.cells) > 0, once, np.nan)


SINGLETON_OUTPUTS = Metric(
    name="singleton_outputs",
    unit="count",
    kinds=("repeat",),
    title="Texts that came once",
    definition="Number of texts that only one repeat gave.",
    source="counted",
)


def count_shared_outputs(left: Counts, right: Counts) -> Floats:
    """Outputs that both gave; NaN where a side is empty."""
    there = (np.bincount(left.cell, minlength=left.cells) > 0) & (np.bincount(right.cell, minlength=left.cells) > 0)
    both = {*zip(left.cell, left.output, strict=True)} & {*zip(right.cell, right.output, strict=True)}
    shared = np.bincount(np.array([cell for cell, _ in both], dtype=np.int64), minlength=left.cells)
    return np.where(there, shared.astype(np.float64), np.nan)


SHARED_OUTPUTS = Metric(
    name="shared_outputs",
    unit="count",
    kinds=("cross", "reference"),
    title="Texts that both gave",
    definition="Number of texts that each of the two gave at least once.",
    source="counted",
)
'''
COUNTED_TEST = '''

def test_texts_are_counted_that_came_once_and_that_both_gave() -> None:
    """By hand: of aab and ab, b came once and both of them are shared."""
    left, right = counted("aab", ""), counted("ab", "a")
    assert agreement.count_singletons(left) == pytest.approx([1, np.nan], nan_ok=True)
    assert agreement.count_shared_outputs(left, right) == pytest.approx([2, np.nan], nan_ok=True)
'''

EXTRACTOR = '''"""A response in, the number of the one ticket that it names out."""

from __future__ import annotations

import re

from tempzero.extractors.extractor import Args, Extractor


def _read_ticket(text: str, args: Args) -> str | None:
    found = set(re.findall(rf"\\b{re.escape(args['project'])}-[0-9]{{1,9}}\\b", text))
    return found.pop() if len(found) == 1 else None


def _can_state_ticket(expected: str, args: Args) -> bool:
    return _read_ticket(expected, args) == expected


TICKET = Extractor(
    name="ticket", version=1, reader=_read_ticket, can_state=_can_state_ticket, parameters=("project",)
)
'''
PHRASINGS = """
- extractor: ticket
  args: {project: TICK}
  phrasings:
    - ["Ticket TICK-7 it is.", "TICK-7"]
    - ["TICK-12", "TICK-12"]
    - ["TICK-7 or TICK-8", null]
    - ["TACK-7", null]
"""

SUSPECT = '''"""The end of a question is repeated on its way: clients that resend the last characters after a pause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tempzero.reading.suspects.suspect import AskedPrompt, RequestSuspect


def _repeat_end(asked: AskedPrompt) -> Sequence[int]:
    *before, last = asked.messages
    return asked.render([*before, replace(last, content=last.content + last.content[-4:])])


STUTTER = (
    RequestSuspect(
        name="stutter", family="stutter", words="the last four letters of a question come twice", change=_repeat_end
    ),
)
'''

SECTION = '''"""A View in, who was asked out."""

from __future__ import annotations

from tempzero.reports.document import Bullets, Section
from tempzero.reports.lookup import View


def build_roll_call_section(view: View) -> Section:
    """Everybody by name."""
    names = tuple(f"asked: {provider.name}" for provider in view.analysis.providers)
    return Section(anchor="roll-call", title="Who was asked?", lead="", blocks=(Bullets(items=names),))
'''
SECTION_TEST = '''"""The roll call names everybody."""

from __future__ import annotations

from reports import synthetic
from tempzero.reports.document import Bullets
from tempzero.reports.lookup import View
from tempzero.reports.sections.roll_call import build_roll_call_section


def test_everybody_is_named() -> None:
    """Nobody who was asked is forgotten."""
    section = build_roll_call_section(View(synthetic.analysis(), synthetic.verdict()))
    assert section.blocks == (Bullets(items=tuple(f"asked: {p.name}" for p in synthetic.analysis().providers)),)
'''

PACKAGE = "harness/tempzero"
TOP = {"harness", "tests", "prompts", "docs", "providers.yaml", "pyproject.toml"}
RECIPES: Mapping[str, Sequence[Edit]] = {
    "A provider": [
        Edit("providers.yaml", PROVIDER.format(name="acme") + PROVIDER.format(name="apex"), "\nproviders:\n"),
    ],
    "A metric": [
        Edit(f"{PACKAGE}/metrics/repetition.py", CAPITAL_SHARE),
        Edit(
            f"{PACKAGE}/types/vocabulary.py",
            '    "capital_share",\n    "capital_share_excess",\n    "singleton_outputs",\n    "shared_outputs",\n',
            "MetricName = Literal[\n",
        ),
        Edit(
            f"{PACKAGE}/metrics/__init__.py",
            "    CAPITAL_SHARE,\n    capital_share,\n",
            "from tempzero.metrics.repetition import (\n",
        ),
        Edit(
            f"{PACKAGE}/metrics/__init__.py",
            "    TextMetric(read=capital_share, metric=CAPITAL_SHARE, "
            'excess=name_excess("capital_share_excess", CAPITAL_SHARE)),\n',
            "TEXT_METRICS = (\n",
        ),
        Edit("tests/metrics/test_repetition.py", CAPITAL_SHARE_TEST),
        Edit(f"{PACKAGE}/metrics/agreement.py", COUNTED),
        Edit(
            f"{PACKAGE}/analysis/provider_figures.py",
            "    counted = agreement.count_singletons(tally.own)\n"
            "    book.add(subject, agreement.SINGLETON_OUTPUTS, counted, estimate=stats.mean_over_prompts)\n",
            '    subject, k = provider_subject(tally, "repeat"), tally.k\n',
        ),
        Edit(
            f"{PACKAGE}/analysis/pair_figures.py",
            "    shared = agreement.count_shared_outputs(left.own, right.own)\n"
            "    book.add(subject, agreement.SHARED_OUTPUTS, shared, estimate=stats.mean_over_prompts)\n",
            "    book.add(subject, answers.FLIPS, majority_flips(pair), estimate=share_of_prompts)\n",
        ),
        Edit(
            f"{PACKAGE}/analysis/registry.py",
            "    agreement.SINGLETON_OUTPUTS,\n    agreement.SHARED_OUTPUTS,\n",
            "METRICS: tuple[Metric, ...] = (\n",
        ),
        Edit("tests/metrics/test_agreement.py", COUNTED_TEST),
        Edit("docs/methods.md", "\nThe share of capitals is counted among letters.\n", "\n## C. Repetition\n"),
    ],
    "A suspect": [
        Edit(f"{PACKAGE}/reading/suspects/stutter.py", SUSPECT),
        Edit(
            f"{PACKAGE}/reading/suspects/__init__.py",
            "from tempzero.reading.suspects.stutter import STUTTER\n",
            IMPORTS,
        ),
        Edit(
            f"{PACKAGE}/reading/suspects/__init__.py",
            "    *STUTTER,\n",
            "REQUEST_SUSPECTS: tuple[RequestSuspect, ...] = (\n",
        ),
    ],
    "An extractor": [
        Edit(f"{PACKAGE}/extractors/ticket.py", EXTRACTOR),
        Edit(f"{PACKAGE}/extractors/__init__.py", "from tempzero.extractors.ticket import TICKET\n", IMPORTS),
        Edit(f"{PACKAGE}/extractors/__init__.py", "        TICKET,\n", "    for extractor in (\n"),
        Edit("tests/extractors/phrasings.yaml", PHRASINGS),
        Edit("tests/extractors/held_out.yaml", PHRASINGS),
        Edit(
            "tests/extractors/test_extractors.py",
            '    "ticket": {"project": "TICK"},\n',
            "ARGUMENTS: Mapping[str, Mapping[str, str]] = {\n",
        ),
        Edit(
            "prompts/README.md",
            "| `ticket` | the one ticket of `project` that is named | `TICK-7` |\n",
            "| name | reads | its answer |\n|---|---|---|\n",
        ),
    ],
    "A section of the report": [
        Edit(f"{PACKAGE}/reports/sections/roll_call.py", SECTION),
        Edit(
            f"{PACKAGE}/reports/sections/__init__.py", "    roll_call,\n", "from tempzero.reports.sections import (\n"
        ),
        Edit(
            f"{PACKAGE}/reports/sections/__init__.py",
            "    roll_call.build_roll_call_section,\n",
            "    participants.build_participants_section,\n",
        ),
        Edit("tests/reports/test_roll_call.py", SECTION_TEST),
    ],
}

SUSPECT_TEST = "tests/reading/test_suspect_reading.py::test_every_request_suspect_changes_some_prompt"
# Where random texts are tried on every extractor, the new one's are enough: the others have not changed.
SLOW_ELSEWHERE = "hostile_text or no_text_breaks or canonical_form or counting_equals"
SECTIONS = dict(
    re.findall(r"^### (.*?)\n(.*?)(?=\n##|\Z)", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL)
)


def find_places(text: str) -> set[str]:
    """The files and folders of the repository that a text names in code or links to, by their path from its root."""
    named = {*re.findall(r"`([\w./-]+)`", text), *re.findall(r"\]\(([\w./-]+)\)", text)}
    return {name for name in named if name.split("/")[0] in TOP and name not in ("harness", "tests")}


def find_changed_places(recipe: str) -> set[str]:
    """Those in the numbered steps of a recipe: these change, others are only where something is described."""
    steps = re.findall(r"^\d\. .*(?:\n   .*)*", SECTIONS[recipe], re.MULTILINE)
    assert steps
    return find_places("\n".join(steps))


def raise_figures(text: str) -> str:
    """The manual's figures on held-out phrasings after four more, of which two state an answer that is read."""
    from extractors.test_held_out import FIGURES

    (found,) = FIGURES.finditer(text)
    phrasings, precision, read, _, hit, stated = found.groups()
    wrong = round((1 - float(precision)) * int(read))
    new = (
        str(int(phrasings) + 4),
        f"{1 - wrong / (int(read) + 2):.3f}"[1:],
        str(int(read) + 2),
        f"{(int(hit) + 2) / (int(stated) + 2):.3f}"[1:],
        str(int(hit) + 2),
        str(int(stated) + 2),
    )
    for group in range(6, 0, -1):
        text = text[: found.start(group)] + new[group - 1] + text[found.end(group) :]
    return text


class Grown(NamedTuple):
    """A copy of the repository that has all five additions, and the one run that was made with it."""

    root: Path
    run: Path
    call: Callable[..., str]


TEXTS = {
    "acme-8b": ("ABcd TICK-7", "ABcd TICK-7", "abcd TICK-7"),
    "apex-8b": ("ABcd TICK-7", "ABcd TICK-7", "ABcd TICK-7"),
}
PROMPTS = """
family: tickets
suite: quick
extractor: {name: ticket, project: TICK}
prompts:
  - {id: ticket-1, prompt: "Which ticket is about the door that squeaks?", expected: TICK-7}
  - {id: ticket-2, prompt: "Name the ticket that was closed as a duplicate of another.", expected: TICK-7}
"""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grown]:
    """The recipes are followed here: nothing but their edits is done to the copy."""
    folder = tmp_path_factory.mktemp("recipes")
    root = folder / "tempzero"
    root.mkdir()
    for name in ("harness", "tests", "prompts", "docs"):
        shutil.copytree(ROOT / name, root / name)  # what is compiled already comes along
    for name in ("providers.yaml", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, root / name)
    for edits in RECIPES.values():
        for place, text, behind in edits:
            file = root / place
            old = file.read_text() if file.exists() else ""
            assert old.count(behind or old) == 1, f"{place}: where the test adds something, {behind!r}, is gone"
            file.write_text(old.replace(behind, behind + text) if behind else old + text)
    manual = root / "prompts" / "README.md"
    manual.write_text(raise_figures(manual.read_text()))
    (folder / "tickets.yaml").write_text(PROMPTS)

    def answer(call: Call) -> Reply:
        return completion(TEXTS[call.model][(call.nth - 1) % 3])

    with Loopback(answer) as server:
        # Neither this run's options nor its place among side by side processes is the business of the ones within.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_")) and k != "ACME_API_KEY"}
        environment = {**kept, "PYTHONPATH": str(root / "harness"), "SERVER_PORT": str(server.port)}

        def call(*command: str, **variables: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", *command],
                cwd=root,
                env={**environment, **variables},
                capture_output=True,
                text=True,
                check=False,
            )
            return f"{done.stdout}{done.stderr}"

        asked = ("--providers", "acme,apex", "--prompts", str(folder / "tickets.yaml"), "--no-check")
        shown = call("tempzero", "run", *asked, ACME_API_KEY="k")
        runs = [path.parent for path in root.glob("results/*/summary.json")]
        assert runs, shown
        yield Grown(root, runs[0], call)


@pytest.fixture(scope="module")
def tested(grown: Grown) -> str:
    """What the copy's own tests say, those of every place that was changed, in one process."""
    places = {edit.place for edits in RECIPES.values() for edit in edits if edit.place.endswith(".py")}
    own = sorted(place for place in places if place.startswith("tests/"))
    more = ["tests/analysis/test_registry.py", "tests/extractors", "tests/config/test_config.py", SUSPECT_TEST]
    more += ["tests/reports/test_html.py", "tests/reports/test_markdown.py"]
    chosen = f"ticket or not ({SLOW_ELSEWHERE})"
    return grown.call("pytest", "-v", "-n0", "-p", "no:cacheprovider", "-k", chosen, *own, *more)


@pytest.mark.parametrize("recipe", SECTIONS)
def test_what_a_recipe_names_is_there(recipe: str) -> None:
    """Nobody looks for a file that was moved, or for a function that is called otherwise today."""
    places = [ROOT / place for place in find_places(SECTIONS[recipe])]
    assert not [str(place) for place in places if not place.exists()]
    files = [file for place in places for file in (place.glob("*.py") if place.is_dir() else [place])]
    text = "\n".join(file.read_text() for file in files)
    words = {name.rpartition(".")[2] for name in re.findall(r"`([A-Za-z_][\w.]*)[`(:]", SECTIONS[recipe])}
    code = {word for word in words if "_" in word or word != word.lower()}
    assert not [word for word in code if not re.search(rf"\b{word.replace('NAME', '[a-z_]+')}\b", text)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_names_every_place_that_changes_and_no_other(recipe: str) -> None:
    """Whoever has done the steps is done; and no step is for nothing."""
    named = find_changed_places(recipe)
    changed = {edit.place if edit.place in named else edit.place.rpartition("/")[0] + "/" for edit in RECIPES[recipe]}
    assert changed == named


def figures(run: Path, metric: str) -> dict[str, tuple[Any, str]]:
    found = json.loads((run / "summary.json").read_text())["figures"]
    return {f["left"]: (f["value"], f["unit"]) for f in found if f["metric"] == metric and f["family"] is None}


def test_a_new_metric_is_in_summary_table_legend_and_report(grown: Grown) -> None:
    """With a value and a unit, under its title, with its definition, though no section knows it."""
    share = {"acme": (pytest.approx(2 / 3), "share"), "apex": (pytest.approx(3 / 4), "share")}
    assert figures(grown.run, "capital_share") == share
    assert figures(grown.run, "capital_share_excess")["acme"] == (pytest.approx(-1 / 12), "share")
    assert figures(grown.run, "singleton_outputs") == {"acme": (1.0, "count"), "apex": (0.0, "count")}
    assert figures(grown.run, "shared_outputs") == {"acme": (1.0, "count")}
    for kind, metric in (("repetition", "capital_share"), ("repeat", "singleton_outputs"), ("cross", "shared_outputs")):
        with (grown.run / "tables" / f"{kind}.csv").open(newline="") as file:
            assert "acme" in {row["left"] for row in csv.DictReader(file) if row["metric"] == metric}
    report = (grown.run / "report.md").read_text()
    assert "Share of the letters that are capitals. 1.0 means: every letter is a capital. Source: counted" in report
    assert "- **Texts that came once** (`singleton_outputs`): Number of texts that only one repeat gave." in report
    assert "| apex |  | Capitals | 0.75 [" in report


def test_a_new_extractor_reads_the_answers_of_a_run(grown: Grown) -> None:
    """A prompt may name it, and what it reads is held against what was expected."""
    assert figures(grown.run, "accuracy") == {"acme": (1.0, "share"), "apex": (1.0, "share")}
    assert figures(grown.run, "unparsed_share")["acme"] == (0.0, "share")


def test_a_new_suspect_is_on_the_list_and_held_to_change_a_prompt(grown: Grown, tested: str) -> None:
    """Nothing else has to know it: it is read like all others."""
    assert f"{SUSPECT_TEST} PASSED" in tested
    listed = "import tempzero.reading.suspects as s; print(s.REQUEST_SUSPECTS[0].name)"
    assert grown.call("timeit", "-n1", "-r1", listed).splitlines()[0] == "stutter"


def test_a_new_section_is_in_every_form_of_the_report(grown: Grown) -> None:
    """In HTML with its place in the table of contents, and in Markdown."""
    page, text = (grown.run / "report.html").read_text(), (grown.run / "report.md").read_text()
    assert 'id="roll-call"' in page
    assert 'href="#roll-call"' in page
    assert "Who was asked?" in page
    assert "Who was asked?" in text
    assert text.index("asked: acme") < text.index("asked: apex")


def test_a_new_provider_is_planned_with_its_key_and_skipped_without(grown: Grown) -> None:
    """It can be shipped: who has no key for it loses nothing, and is told."""
    plan = "main(['run', '--dry-run'])"
    twice = f"import os; from tempzero.cli import main; {plan}; os.environ['ACME_API_KEY'] = 'k'; {plan}"
    planned = grown.call("timeit", "-n1", "-r1", twice)
    assert len(re.findall(r"^\W acme +\W +60 ", planned, re.MULTILINE)) == 1, planned  # 20 prompts, three times each
    assert planned.count("skipped: acme: environment variable ACME_API_KEY not set") == 1


def test_the_tests_of_what_was_changed_pass(tested: str) -> None:
    """Had the recipe forgotten a place, a test of the repository would miss something there."""
    assert re.search(r"^=* *\d+ passed[^f]*$", tested.splitlines()[-1]), tested[-4000:]
    assert "[ticket" in tested, "the tests of extractors have not seen the new one"
