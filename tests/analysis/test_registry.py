"""One place for what a metric, a kind of figures, a rule or a cause is called and means; and every figure has it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import tempzero
from analysis.test_analyse import SUMS, analysed, scripted, settings
from tempzero.analysis.flag_findings import FLAG_RULES
from tempzero.analysis.registry import CAUSES, KINDS, METRICS, RULES, VOCABULARY
from tempzero.answers.flag_table import FLAGS
from tempzero.reports.fault_wording import fault_words
from tempzero.types.concluded import Analysis
from tempzero.types.recorded import FaultKind, OutcomeKind
from tempzero.types.vocabulary import Cause, CauseName, KindName, Metric, MetricName, Rule, RuleName, Unit

WINGS = ("metrics", "attribute", "analysis")


def literals(of: Any) -> list[str]:
    """All names of a Literal, or of a union of some."""
    found = get_args(of)
    return [name for one in found for name in ([one] if isinstance(one, str) else literals(one))]


def nouns(what: type) -> Iterator[tuple[str, Any]]:
    """Every noun of that class at the top of a module beside the formulas, by where it stands."""
    for wing in WINGS:
        package = importlib.import_module(f"tempzero.{wing}")
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            yield from ((f"{found.name}.{k}", v) for k, v in vars(module).items() if isinstance(v, what))


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    config = settings("ref", "a", "b", b={"price": {"input_per_mtok": 1.0, "output_per_mtok": 2.0}})
    return analysed(tmp_path_factory.mktemp("run"), config, SUMS, scripted())


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        (MetricName, [m.name for m in METRICS]),
        (KindName, [k.name for k in KINDS]),
        (RuleName, [r.name for r in RULES]),
        (CauseName, [c.name for c in CAUSES]),
    ],
    ids=["metrics", "kinds", "rules", "causes"],
)
def test_every_name_has_its_noun_and_every_noun_its_name(names: Any, listed: list[str]) -> None:
    """A name that the type check lets pass can be shown, and nothing is shown under two nouns."""
    assert sorted(listed) == sorted(literals(names))


@pytest.mark.parametrize(("what", "listed"), [(Metric, METRICS), (Rule, RULES), (Cause, CAUSES)])
def test_every_noun_beside_a_formula_is_listed(what: type, listed: tuple[Any, ...]) -> None:
    """A metric that somebody wrote and forgot to list would be missing from the legend."""
    forgotten = [where for where, noun in nouns(what) if noun not in listed]
    assert not forgotten


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_every_metric_says_what_it_means(metric: Metric) -> None:
    """No number in a report without a title, a definition, a source and a unit; of a share, what 1.0 says."""
    assert metric.title
    assert metric.definition.endswith(".")
    assert metric.source
    assert metric.unit in literals(Unit)
    assert set(metric.kinds) <= set(literals(KindName))
    assert bool(metric.one_means) == (metric.unit == "share")


def test_every_rule_and_cause_says_what_it_means() -> None:
    """A finding is not shown under a bare name, and says what has to hold before it is made."""
    assert all(rule.words and rule.shown_by for rule in RULES)
    assert all(cause.words for cause in CAUSES)
    assert all(cause.rule in literals(RuleName) for cause in CAUSES if cause.rule is not None)


def test_every_flag_that_is_a_finding_names_a_rule() -> None:
    """A flag that accuses can be ignored by name in `gates.ignore`, and has its heading in the report."""
    accusing = [flag.name for flag in FLAGS if flag.severity == "finding"]
    assert set(accusing) <= set(literals(RuleName))
    assert accusing == [rule.name for rule in FLAG_RULES]


def test_every_figure_is_of_a_listed_metric_in_its_kind_and_unit(analysis: Analysis) -> None:
    """Whoever looks a figure up by its name finds it where the metric says that it stands."""
    known = {m.name: m for m in METRICS}
    odd = [
        (f.kind, f.metric, f.unit)
        for f in analysis.figures
        if f.kind not in known[f.metric].kinds or f.unit != known[f.metric].unit
    ]
    assert not odd
    assert {f.kind for f in analysis.figures} == {k.name for k in KINDS} - {"scored", "conditions", "calls"}
    assert {f.rule for f in analysis.findings} <= {r.name for r in RULES}


def test_an_analysis_brings_the_words_for_all_it_says(analysis: Analysis) -> None:
    """A report needs no other source, and no second copy, of what a name means."""
    assert analysis.vocabulary == VOCABULARY


def test_every_way_to_fail_has_its_words() -> None:
    """Nobody has to look a fault of the catalogue up in the source."""
    whole = {"complete"}
    assert not [kind for kind in (*literals(OutcomeKind), "not_asked") if kind not in whole and not fault_words(kind)]  # type: ignore[arg-type]


def test_the_catalogue_of_faults_lists_every_kind() -> None:
    """The table at the top of the catalogue is where one learns what a kind means and whether it is tried again."""
    from tempzero.engines.hosted import fault_catalogue

    told = {line.split()[0] for line in (fault_catalogue.__doc__ or "").splitlines() if line.strip()}
    assert set(literals(FaultKind)) <= told


def test_only_the_nouns_themselves_are_at_home_in_the_types() -> None:
    """What a metric means stands beside its formula: the vocabulary knows names, not definitions."""
    text = (Path(tempzero.__file__).parent / "types" / "vocabulary.py").read_text()
    assert "Metric(" not in text.replace("class Metric(", "")
