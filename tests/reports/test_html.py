"""report.html: self-contained, escaped, accessible, complete, and of a sane size."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from reports import synthetic
from tempzero.reports import html, write_reports
from tempzero.reports.lookup import View
from tempzero.reports.sections import build_sections
from tempzero.types.concluded import Analysis, Divergence, Verdict

Attributes = dict[str, str | None]


class _Page(HTMLParser):
    """Collects the elements of a page and the text inside of each kind."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes]] = []
        self._pieces: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.text = {tag: ["".join(parts) for parts in found] for tag, found in self._pieces.items()}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "path", "rect", "circle", "link", "br"):
            self._open.append(tag)
            self._pieces.setdefault(tag, []).append([])

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self._pieces[tag][-1].append(data)

    def all(self, tag: str) -> list[Attributes]:
        return [attributes for name, attributes in self.elements if name == tag]


def _render(analysis: Analysis, verdict: Verdict) -> str:
    parts = build_sections(View(analysis, verdict))
    return html.render_html(parts, run_id=analysis.run_id, created_at=analysis.created_at)


@cache
def _plain() -> _Page:
    return _Page(_render(synthetic.analysis(), synthetic.verdict()))


@cache
def _hostile() -> _Page:
    return _Page(_render(synthetic.hostile_analysis(), synthetic.hostile_verdict()))


@pytest.fixture(scope="module", params=["plain", "hostile"])
def page(request: pytest.FixtureRequest) -> _Page:
    """The parsed page of the synthetic analysis."""
    return _plain() if request.param == "plain" else _hostile()


def test_nothing_can_run_or_be_fetched(page: _Page) -> None:
    """No script but our own, no handler, no address outside of the page, and a policy that forbids them all."""
    tags = {tag for tag, _ in page.elements}
    assert page.all("script") == [{}]
    assert page.text["script"] == [html.read_page_script()]
    assert not tags & {"img", "iframe", "object", "embed", "link", "base", "form", "video", "audio"}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert all(not attributes.get(name) for name in ("src", "srcset", "action", "data"))
        assert re.match(r"#|(charts|tables)/[a-z0-9-]+[.](svg|csv)$", attributes.get("href") or "#")
        assert "url(" not in (attributes.get("style") or "")
    policies = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    allowed = f"script-src '{html.hash_script(page.text['script'][0])}'"
    assert f"default-src 'none'; style-src 'unsafe-inline'; {allowed}; img-src data:" in str(policies[0])
    assert "@import" not in page.text["style"][0]
    assert "url(" not in page.text["style"][0]


def test_hostile_output_adds_no_element() -> None:
    """The hostile page is made of the same kinds of elements as the plain one; its text is all there as text."""
    plain, hostile = _plain(), _hostile()
    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in plain.elements}
    text = hostile.text["body"][0]
    assert synthetic.HOSTILE[0] in text
    assert synthetic.HOSTILE[8] in text
    assert "{{ 7*7 }}" in text
    assert "⟨U+202E⟩gnp.exe" in text
    assert "⟨U+001B⟩[31mred" in text
    assert "nul⟨U+0000⟩byte" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", text)


def test_identifiers_are_unique_and_links_arrive(page: _Page) -> None:
    """Every link of the contents leads somewhere, and no two elements share an identifier."""
    names = [a["id"] for _, a in page.elements if a.get("id")]
    assert len(names) == len(set(names))
    for target in [str(a["href"]) for a in page.all("a")]:
        assert not target.startswith("#") or target.removeprefix("#") in names
    for _, attributes in page.elements:
        for name in str(attributes.get("aria-labelledby") or "").split():
            assert name in names


def test_tables_and_charts_speak(page: _Page) -> None:
    """Tables have captions and scoped headers; drawings have a title and description or are hidden."""
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(a.get("scope") in ("col", "row", "rowgroup") for a in page.all("th"))
    for attributes in page.all("svg"):
        assert attributes.get("aria-hidden") == "true" or (
            attributes.get("role") == "img" and attributes.get("aria-labelledby")
        )


def test_the_script_writes_no_markup() -> None:
    """What a model wrote goes through it as text only, and it asks nobody for anything."""
    script = html.read_page_script()
    for way in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval", "Function(", "fetch", "XMLHttp"):
        assert way not in script
    assert "</" not in script
    assert "<!--" not in script


def test_every_chart_is_kept_as_a_file_beside_the_table_with_its_numbers(tmp_path: Path) -> None:
    """The page links to both, so that a chart can be used elsewhere and checked; the file needs no other."""
    files = write_reports(synthetic.analysis(), synthetic.verdict(), tmp_path)
    targets = {str(a["href"]) for a in _plain().all("a") if not str(a["href"]).startswith("#")}
    written = {path.relative_to(tmp_path).as_posix() for path in files}
    assert targets <= written
    assert {t for t in written if t.startswith("charts/")} == {t for t in targets if t.endswith(".svg")}
    assert len([t for t in targets if t.endswith(".svg")]) >= 6
    for path in files:
        if path.suffix == ".svg":
            drawing = ElementTree.fromstring(path.read_text(encoding="utf-8"))
            assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
            assert "var(--" not in re.sub(r"(?s)<style>.*</style>", "", path.read_text(encoding="utf-8")) or (
                path.name == "overview.svg"
            )


def test_both_charts_are_drawn() -> None:
    """The heat map has a cell for each pair, each survival curve and each margin profile is a line with its name."""
    page = _plain()
    drawn = [str(a.get("class")) for a in page.all("svg")]
    assert (drawn.count("heat"), drawn.count("curves")) == (1, 4)
    cells = [t for t in page.text["title"] if " with itself: " in t or "same text" in t]
    assert len(cells) == 49  # seven providers claim the one model
    assert "llama-q4_0 and cpu-f32: same text 0.07 [0.00, 0.20], n=24, excess divergence 0.93" in " ".join(cells)
    assert any(text.startswith("llama-q4_0 0.07") for text in page.text["text"])


def test_no_figure_without_interval_and_n() -> None:
    """A share is shown with its interval and n; what is undefined as a dash with the reason."""
    page = _plain()
    cells = [" ".join(t.split()) for t in page.text["td"]]
    assert "0.41 [0.29, 0.53], n=24" in cells
    assert "– (no prompt has two comparable responses)" in cells
    assert "– (no price is given in providers.yaml)" in cells
    assert "1.00, n=1 (one prompt gives no interval)" in cells


def test_a_new_metric_shows_without_new_code() -> None:
    """A figure that no section knows reaches the reader under its title, with its value and a legend entry."""
    cells = [" ".join(t.split()) for t in _plain().text["td"]]
    assert cells[cells.index("Shiny new metric") + 1] == "0.500 [0.400, 0.600], n=24"
    assert "Shiny new metric shiny_new_metric" in [" ".join(t.split()) for t in _plain().text["dt"]]


def test_the_verdict_comes_first_and_worst_first() -> None:
    """Who reads only the beginning has read the verdict, and the findings before what passed."""
    page = _plain()
    assert page.text["h2"][0] == "Verdict"
    outcomes = [str(a["class"]).removeprefix("card outcome-") for a in page.all("article")]
    assert outcomes == ["finding"] * 3 + ["inconclusive"] * 2 + ["pass"] * 3


def _divergence(left: str, right: str, at: int) -> _Page:
    divergence = Divergence(
        prompt="p",
        left=synthetic.trial("a"),
        right=synthetic.trial("a", repeat=1),
        left_text=left,
        right_text=right,
        at_char=at,
    )
    return _Page(
        _render(
            replace(
                synthetic.analysis(),
                divergences=(divergence,),
                figures=(),
                prompt_rows=(),
                asked=(),
                answers=(),
                reading=None,
            ),
            synthetic.verdict(),
        )
    )


def test_the_first_difference_is_marked() -> None:
    """Both sides show the shared start unmarked, the first different character by itself, and the shared end."""
    page = _divergence("The sum is 42 apples.", "The sum is 43 apples.", 12)
    assert page.text["mark"] == ["2", "3"]
    assert page.text["b"] == ["2", "3"]
    assert page.text["pre"] == ["The sum is 42 apples.", "The sum is 43 apples."]
    assert "p: a, from character 12 on" in page.text["summary"]


def test_tokens_are_coloured_by_their_margin() -> None:
    """A token that the reference would not have said is marked, with its margin and what would have come instead."""
    page = _plain()
    marked = [a for a in page.all("span") if str(a.get("title", "")).startswith("margin ")]
    assert {str(a["class"]).split()[0] for a in marked} == {"m3", "m4"}
    assert any("margin 0.56, rank 2; the reference: “so”" in str(a["title"]) for a in marked)


def test_an_insertion_marks_both_sides() -> None:
    """Where one text has a piece more, a shared end does not swallow the other side's first different character."""
    page = _divergence("aXb", "aXXb", 2)
    assert page.text["mark"] == ["b", "Xb"]
    assert page.text["b"] == ["b", "X"]


def test_a_text_that_ends_early_says_so() -> None:
    """Where one text is the beginning of the other, the end is named, not an empty mark."""
    page = _divergence("Paris", "Paris.", 5)
    assert page.text["pre"] == ["Paris⟨the text ends here⟩", "Paris."]
    assert page.text["mark"] == ["."]
    assert "first different: the text ends here" in page.text["figcaption"][-2]


def test_long_texts_are_shortened_around_the_difference() -> None:
    """A shared start and a differing rest of any length leave the difference in sight and say what is left out."""
    page = _divergence("a" * 50_000 + "b" * 50_000, "a" * 50_000 + "c" * 50_000, 50_000)
    assert all(len(text) < 1_500 for text in page.text["pre"])
    assert "… 49840 same characters …" in page.text["pre"][0]
    assert "… 49100 more characters" in page.text["pre"][0]


def test_an_invisible_difference_is_named() -> None:
    """Where the eye sees no difference, the code of the character does."""
    page = _divergence("a b", "a\u00a0b", 1)
    assert "U+0020 space" in page.text["figcaption"][-2]
    assert "U+00A0 no-break space" in page.text["figcaption"][-1]
