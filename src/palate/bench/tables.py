"""The tables of an experiment, as rows of marked texts that any format can print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from palate.bench.summary import COLUMN, COLUMNS, Entry, Summary
from palate.evaluation.bootstrap import Difference

ACCURACY = ("seen", "unseen", "overall")
#: Up to so many rows every two methods' difference is listed; beyond, those with the best one.
MOST_PAIRED = 10
MINUS = "\N{MINUS SIGN}"
TIED_MARK = "\N{ALMOST EQUAL TO}"


@dataclass(frozen=True)
class Text:
    """What stands in a table's cell; `best` is bold, `tied` cannot be told from the best."""

    text: str
    best: bool = False
    tied: bool = False


@dataclass(frozen=True)
class Table:
    """A table: the first column names the row, the others are numbers.

    long: a table that is looked up rather than read.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Text, ...]]
    notes: list[str] = field(default_factory=list)
    long: bool = False


def tables_of(summary: Summary, *, short: bool = False) -> list[Table]:
    """Accuracy beside the paper's, other figures, differences (`short`: from the best alone)."""
    if not summary.entries:
        return []
    return [
        accuracy_table(summary),
        other_table(summary, short),
        *difference_tables(summary, short),
    ]


def accuracy_table(summary: Summary) -> Table:
    """Accuracy per user for seen and unseen users, the paper's beside it."""
    published = any(
        e[name].paper is not None for e in summary.entries.values() for name in ACCURACY
    )
    columns = ["", *ACCURACY, *(["paper"] if published else [])]
    rows = []
    for label, entries in summary.entries.items():
        row = [Text(label), *(_text(name, entries[name]) for name in ACCURACY)]
        if published:
            row.append(Text(_papers(entries)))
        rows.append(tuple(row))
    return Table("Accuracy, %", tuple(columns), rows, _notes(summary))


def other_table(summary: Summary, short: bool) -> Table:
    """All other figures; `short` leaves out their spread over seeds."""
    names = [column.name for column in COLUMNS if column.name not in ACCURACY]
    titles = [f"{COLUMN[n].title}{', ' if COLUMN[n].unit else ''}{COLUMN[n].unit}" for n in names]
    rows = [
        (Text(label), *(_text(name, entries[name], spread=not short) for name in names))
        for label, entries in summary.entries.items()
    ]
    note = (
        "ROC AUC is the mean of seen and unseen users. Log-loss (nats), calibration (expected "
        "error) and the worst tenth of users are those of unseen users, adapted on their first "
        f"{summary.results.answers} comparisons or all they have. Training includes the choice on "
        "validation; adapting is the time a user takes of 200 with 10 comparisons each."
    )
    return Table("Other figures", ("", *titles), rows, [note])


def difference_tables(summary: Summary, short: bool) -> list[Table]:
    """Differences of accuracy with their paired intervals."""
    pairs = summary.differences.get("overall") or {}
    if not pairs:
        return []
    if short or len(summary.entries) > MOST_PAIRED:
        best = next(label for label, e in summary.entries.items() if e["overall"].best)
        pairs = {pair: d for pair, d in pairs.items() if best in pair}
    rows = []
    for first, second in pairs:
        cells = [
            _difference(summary.differences[name].get((first, second)))
            for name in ACCURACY
            if name in summary.differences
        ]
        rows.append((Text(f"{first} {MINUS} {second}"), *cells))
    names = [name for name in ACCURACY if name in summary.differences]
    note = (
        "Points of accuracy with the 95% interval of a bootstrap that redraws users within every "
        "seed, the same for both methods; bold where the interval leaves out zero."
    )
    return [Table("Differences, points", ("", *names), rows, [note], long=True)]


def _notes(summary: Summary) -> list[str]:
    results, notes = summary.results, []
    seeds = len(results.seeds)
    spread = ", \N{PLUS-MINUS SIGN} the standard deviation over them" if seeds > 1 else ""
    notes.append(f"Per user, then over users; mean over {seeds} seed{'s' * (seeds > 1)}{spread}.")
    notes.append(f"Bold: the best. {TIED_MARK}: tied with it (paired bootstrap over users, 95%).")
    if results.experiment["paper"]:
        reference = results.experiment["paper"]["reference"]
        notes.append(f"Paper, seen / unseen / overall: {reference}.")
    if results.experiment["gap"]:
        notes.append(f"Gap: {results.experiment['gap']}")
    return notes + absences(summary)


def absences(summary: Summary) -> list[str]:
    """What is not in the tables, and why."""
    notes = []
    for line in summary.results.lines:
        if line.skipped:
            notes.append(f"Skipped: {line.label}: {line.skipped}.")
        for seed, error in line.failed.items():
            notes.append(f"Failed: {line.label}, seed {seed}: {error}.")
    absent = [line for line in summary.results.lines if line.missing]
    if absent:
        names = ", ".join(line.label for line in absent)
        notes.append(f"Not computed yet with every seed: {names}; run the experiment again.")
    return notes


def _text(name: str, entry: Entry, *, spread: bool = True) -> Text:
    column, figure = COLUMN[name], entry.figure
    if column.higher is None:
        return Text(_cost(figure.mean * (1e3 if name == "adaptation_ms" else 1)))
    scale, digits = (100, 2) if column.unit == "%" else (1, 3)
    text = f"{scale * figure.mean:.{digits}f}"
    if spread and figure.seeds > 1:
        text += f" \N{PLUS-MINUS SIGN} {scale * figure.sd:.{digits}f}"
    return Text(text + (f" {TIED_MARK}" if entry.tied else ""), entry.best, entry.tied)


def _cost(value: float) -> str:
    """Seconds or microseconds, which differ by powers of ten: more digits for the small ones."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _papers(entries: dict[str, Entry]) -> str:
    """The paper's accuracies, with a dash for one that it does not give; empty without any."""
    values = [entries[name].paper for name in ACCURACY]
    if all(value is None for value in values):
        return ""
    return " / ".join("-" if value is None else f"{value:.1f}" for value in values)


def _difference(difference: Difference | None) -> Text:
    if difference is None:
        return Text("-")
    low, high = _signed(difference.low), _signed(difference.high)
    return Text(f"{_signed(difference.mean)} [{low}, {high}]", best=not difference.tied)


def _signed(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", MINUS)


def as_strings(rows: Sequence[Sequence[Text]]) -> list[tuple[str, ...]]:
    """Rows as plain texts; the best marked by an asterisk."""
    return [tuple(cell.text + (" *" if cell.best else "") for cell in row) for row in rows]
