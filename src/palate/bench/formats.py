"""Tables as Markdown and as LaTeX."""

from __future__ import annotations

from palate.bench.tables import TIED_MARK, Table, Text

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "\N{PLUS-MINUS SIGN}": r"$\pm$", TIED_MARK: r"$\approx$", "\N{MINUS SIGN}": "$-$",
    "<": "$<$", ">": "$>$",
}  # fmt: skip


def markdown(table: Table) -> str:
    """A pipe table under its title, its notes below."""
    columns = [_cell(Text(name)) for name in table.columns]
    lines = [f"### {table.title}", "", f"| {' | '.join(columns)} |"]
    lines.append("|---" + "|--:" * (len(columns) - 1) + "|")
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table.rows]
    if table.notes:
        lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def _cell(cell: Text) -> str:
    text = cell.text.replace("|", "\\|").replace("\n", " ")
    return f"**{text}**" if cell.best else text


def latex(table: Table, label: str) -> str:
    """A floating table in the rules of booktabs."""
    head = " & ".join(_latex(name) for name in table.columns)
    rows = [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in table.rows]
    caption = " ".join([f"{table.title}.", *table.notes])
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(caption)}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex_cell(cell: Text) -> str:
    return rf"\textbf{{{_latex(cell.text)}}}" if cell.best else _latex(cell.text)


def _latex(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)
