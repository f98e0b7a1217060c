"""Reports: numbers against a walk over cells, marks that mean what they say, every format whole."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from palate.bench import curves
from palate.bench.formats import latex, markdown
from palate.bench.report import write_report
from palate.bench.results import Results, find_runs, read_results
from palate.bench.summary import COLUMNS, Figure, Summary, summarise
from palate.bench.tables import Table, Text, tables_of
from palate.errors import ExperimentError
from tests.unit.bench.world import QUICK, Bench


@pytest.fixture(scope="session")
def results(ran: Bench) -> Results:
    return read_results(ran.out / "toy" / "run.json")


@pytest.fixture(scope="session")
def summary(results: Results) -> Summary:
    return summarise(results)


@pytest.fixture(scope="session")
def report(ran: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    runs = find_runs(ran.out, [])
    assert [path.parent.name for path in runs] == ["sweep", "toy"]
    write_report([summarise(read_results(path)) for path in runs], folder)
    return folder


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_figures_equal_a_walk_over_cells(ran: Bench, summary: Summary) -> None:
    for method in ("bt", "pref", "vrf"):
        cells = [ran.cell(method, seed) for seed in (0, 1)]
        seen = [mean(cell["seen"]["accuracy"]) for cell in cells]
        unseen = [mean(cell["unseen"]["20"]["accuracy"]) for cell in cells]
        entries = summary.entries[method]
        assert entries["seen"].figure.mean == pytest.approx(mean(seen))
        assert entries["seen"].figure.sd == pytest.approx(abs(seen[0] - seen[1]) / np.sqrt(2))
        assert entries["overall"].figure.mean == pytest.approx((mean(seen) + mean(unseen)) / 2)
        worst = mean([min(cell["unseen"]["20"]["accuracy"]) for cell in cells])
        assert entries["worst_tenth"].figure.mean == pytest.approx(worst)  # few users: one is worst


def test_the_best_is_the_best_and_the_tied_have_an_interval_with_zero(summary: Summary) -> None:
    for column in COLUMNS:
        entries = {label: row[column.name] for label, row in summary.entries.items()}
        best = [label for label, entry in entries.items() if entry.best]
        if column.higher is None:
            assert best == []
            continue
        sign = 1 if column.higher else -1
        assert best == [max(entries, key=lambda label: sign * entries[label].figure.mean)]
        for (first, second), d in summary.differences.get(column.name, {}).items():
            if best[0] in (first, second):
                other = second if best[0] == first else first
                assert entries[other].tied == (d.low <= 0 <= d.high)


def test_differences_are_of_the_same_users(summary: Summary) -> None:
    """Every pair once, and its mean is the difference of the means."""
    pairs = summary.differences["seen"]
    assert set(pairs) == {("bt", "pref"), ("bt", "vrf"), ("pref", "vrf")}
    for (first, second), difference in pairs.items():
        means = [summary.entries[label]["seen"].figure.mean for label in (first, second)]
        assert difference.mean == pytest.approx(means[0] - means[1])


def test_one_seed_has_no_spread() -> None:
    assert Figure.of([0.6]) == Figure(0.6, 0.0, 1)


def test_tables_show_the_papers_numbers_the_gap_and_what_was_skipped(summary: Summary) -> None:
    table = tables_of(summary)[0]
    assert table.columns[-1] == "paper"
    last = {row[0].text: row[-1].text for row in table.rows}
    assert last == {"bt": "", "pref": "", "vrf": "62.1 / - / 61.8"}
    notes = " ".join(table.notes)
    assert "Gap: the world is a toy." in notes
    assert "Skipped: ref: backbone" in notes
    assert "A <paper>, table 1" in notes


def test_the_terminal_sees_differences_from_the_best_alone(summary: Summary) -> None:
    best = next(label for label, entry in summary.entries.items() if entry["overall"].best)
    (short,) = (table for table in tables_of(summary, short=True) if table.long)
    assert len(short.rows) == 2
    assert all(best in row[0].text for row in short.rows)


def test_a_sweep_is_a_curve(ran: Bench) -> None:
    results = read_results(ran.out / "sweep" / "run.json")
    (series,) = curves.series_of(results).values()
    assert [line.at for line in series] == [0.0, 0.1]


def test_curves_equal_a_walk_over_cells(ran: Bench, results: Results) -> None:
    line = next(line for line in results.done if line.label == "vrf")
    answers, values = curves.by_answers(results, line)
    assert answers == [0, 1, 3, 5, 10, 20]
    cells = [ran.cell("vrf", seed) for seed in (0, 1)]
    expected = mean([mean(cell["unseen"]["3"]["accuracy"]) for cell in cells])
    assert values[2] == pytest.approx(expected)
    thirds = curves.by_uncertainty(results, line)
    assert thirds is not None
    assert thirds.shape == (3,)
    naive = []
    for cell in cells:
        sd = dict(zip(cell["uncertainty"]["users"], cell["uncertainty"]["sd"], strict=True))
        part = cell["unseen"]["20"]
        pairs = list(zip((sd[u] for u in part["users"]), part["accuracy"], strict=True))
        pairs.sort(key=lambda pair: pair[0])
        naive.append(mean([accuracy for _, accuracy in pairs[: -(-len(pairs) // 3)]]))
    assert thirds[0] == pytest.approx(mean(naive))
    shares = curves.coverage(results, line)
    assert shares is not None
    assert shares[0].sum() == pytest.approx(1)
    assert (np.diff(shares[0]) <= 1e-9).all()
    bt = next(line for line in results.done if line.label == "bt")
    assert curves.by_uncertainty(results, bt) is None
    assert curves.coverage(results, bt) is None


def test_the_elbow_is_where_the_spectrum_bends() -> None:
    assert curves.elbow(np.array([10, 9, 8, 0.5, 0.4, 0.3, 0.2, 0.1])) == 4
    assert curves.elbow(np.array([1.0, 0.1])) == 2
    assert curves.elbow(np.ones(5)) == 1


def test_the_spectrum_is_of_the_users_tastes(ran: Bench) -> None:
    """The toy world has one taste and its opposite: one direction stands out."""
    values = ran.cell("bt", 0)["singular_values"]
    assert sum(values) == pytest.approx(1, abs=1e-3)
    assert values[0] > 2 * values[1]


TABLE = Table(
    "A & B", ("", "50% |"), [(Text("a_b|c"), Text("1.0 ± 0.1", best=True))], ["1 < 2", "# {x}"]
)


def test_markdown_keeps_its_columns() -> None:
    lines = markdown(TABLE).splitlines()
    assert lines[0] == "### A & B"
    assert lines[4] == r"| a_b\|c | **1.0 ± 0.1** |"
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:5]} == {3}


def test_latex_escapes_what_it_must() -> None:
    text = latex(TABLE, "t")
    assert r"a\_b|c & \textbf{1.0 $\pm$ 0.1} \\" in text
    assert r"\caption{A \& B. 1 $<$ 2 \# \{x\}}" in text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    assert text.isascii()


class Page(HTMLParser):
    """Whether tags close, and what is fetched."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[Any] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.fetched += [values[k] for k in ("src", "href", "xlink:href") if k in values]
        self.ids += [values["id"]] if values.get("id") else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_fetches_nothing_and_follows_the_theme(report: Path) -> None:
    text = (report / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert all(str(target).startswith("#") for target in page.fetched)
    assert len(set(page.ids)) == len(page.ids)
    assert "prefers-color-scheme: dark" in text
    assert "currentColor" in text
    assert "#010203" not in text
    assert text.count("<figure>") == 6
    assert "A &lt;paper&gt;, table 1" in text


def test_figures_are_pictures(report: Path) -> None:
    names = {path.name for path in (report / "figures").iterdir()}
    drawn = {"answers", "uncertainty", "adaptation", "spectrum", "coverage"}
    expected = {f"toy-{name}" for name in drawn} | {"sweep-axis"}
    assert names == {f"{name}.{kind}" for name in expected for kind in ("svg", "png")}
    for path in (report / "figures").iterdir():
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
        else:
            assert path.read_bytes().startswith(b"\x89PNG")


def test_the_same_run_gives_the_same_page(ran: Bench, report: Path, tmp_path: Path) -> None:
    write_report([summarise(read_results(path)) for path in find_runs(ran.out, [])], tmp_path)
    for name in ("report.html", "report.md", "report.tex", "report.json"):
        assert (tmp_path / name).read_bytes() == (report / name).read_bytes()


def test_all_numbers_are_in_the_json(report: Path) -> None:
    content = json.loads((report / "report.json").read_text())
    assert content["toy"]["rows"]["vrf"]["seen"]["paper"] == 62.1
    assert content["toy"]["skipped"].keys() == {"ref"}
    assert {d["first"] for d in content["toy"]["differences"]["overall"]} == {"bt", "pref"}


def test_a_run_of_which_nothing_is_computed_is_reported_as_such(bench: Bench) -> None:
    bench.run(bench.write(rows={"ref": {"method": "ref"}}))
    summary = summarise(read_results(bench.out / "toy" / "run.json"))
    write_report([summary], bench.folder / "report")
    for name in ("report.md", "report.html"):
        text = (bench.folder / "report" / name).read_text()
        assert "Nothing is computed yet." in text
        assert "Skipped: ref" in text


def test_rows_are_compared_over_the_seeds_that_all_have(bench: Bench) -> None:
    rows = {name: {"method": "bt", "settings": QUICK} for name in ("a", "b")}
    rows["b"] = {"method": "bt", "settings": QUICK | {"steps": 9}}
    bench.run(bench.write(rows=rows))
    index = bench.out / "toy" / "run.json"
    key = json.loads(index.read_text())["rows"]["b"]["cells"]["1"]
    (bench.out / "cells" / f"{key}.json").unlink()
    summary = summarise(read_results(index))
    assert summary.entries["a"]["seen"].figure.seeds == 1
    assert "Not computed yet with every seed: b" in " ".join(tables_of(summary)[0].notes)


def test_a_report_of_no_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="palate bench run"):
        find_runs(tmp_path, [])
    with pytest.raises(ExperimentError, match="palate bench run"):
        read_results(find_runs(tmp_path, [Path("opinions.yaml")])[0])
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ExperimentError, match="is damaged"):
        read_results(tmp_path / "run.json")


def test_seeds_of_a_protocol_may_end_at_different_numbers_of_comparisons(
    ran: Bench, results: Results
) -> None:
    line = next(line for line in results.done if line.label == "bt")
    cells = {seed: dict(cell) for seed, cell in line.cells.items()}
    cells[1]["unseen"] = {n: part for n, part in cells[1]["unseen"].items() if n != "20"}
    shorter = Results("toy", results.experiment, {}, [replace(line, cells=cells)])
    answers, values = curves.by_answers(shorter, shorter.lines[0])
    assert answers == [0, 1, 3, 5, 20]
    last = [mean(ran.cell("bt", 0)["unseen"]["20"]["accuracy"])]
    last.append(mean(ran.cell("bt", 1)["unseen"]["10"]["accuracy"]))
    assert values[-1] == pytest.approx(mean(last))
    assert summarise(shorter).entries["bt"]["unseen"].figure.mean == pytest.approx(mean(last))
