"""Prints the matrix, and writes it into docs/drivers.md."""

import datetime
import os

from judge import FAILED, GAP, MODE_GAP
from rows import DRIVERS

# Where a page has the matrix of Debian's kernels, and where that of kernels of one's own: the lines before and after it.
DEBIAN = ("<!-- matrix: made by `make test-kernels`; do not edit -->", "<!-- end of the matrix -->")
OWN = ("<!-- own kernels: made by `tools/test-kernels --kernel`; do not edit -->", "<!-- end of own kernels -->")


class Gaps:
    """Numbers the gaps in the order of their appearance. Gaps that a driver has everywhere, in the mode in which
    it runs, get no number."""

    def __init__(self, results):
        self.numbers = {}
        cells = [(name, cell) for rows in results.values() for row in rows for name, cell in row[1].items()]
        usable = {}
        for name, cell in cells:
            if cell.usable:
                usable.setdefault((name, cell.mode), []).append({gap for gap in cell.gaps if gap[0] != MODE_GAP})
        self.always = {which: set.intersection(*sets) for which, sets in usable.items()}

    def of(self, name, cell):
        mine = [gap for gap in cell.gaps if gap not in self.always.get((name, cell.mode), ())]
        return [self.numbers.setdefault((name, gap), len(self.numbers) + 1) for gap in mine]


def word(gaps, name, cell):
    if cell is None:
        return ""
    numbers = "".join(f" [{number}]" for number in gaps.of(name, cell))
    if name == "auto":
        return FAILED if cell.verdict == FAILED else cell.chosen
    if cell.verdict == FAILED:
        return FAILED
    if cell.verdict == GAP:
        return f"gap{numbers}"
    mode = f" ({cell.mode})" if cell.mode else ""
    again = f" ({cell.again} again)" if cell.again else ""
    return f"passed{f' {cell.cases}' if cell.cases else ''}{again}{mode}{',' if numbers else ''}{numbers}"


def lines(results, kernels):
    """The table and its notes, in Markdown. `results`: for each kernel its rows, as pairs of name and cells."""
    gaps = Gaps(results)
    table = ["| kernel | privilege | " + " | ".join(DRIVERS) + " | auto takes |", "|" + "---|" * (len(DRIVERS) + 3)]
    for key, rows in results.items():
        for name, cells in rows:
            words = [word(gaps, driver, cells.get(driver)) for driver in (*DRIVERS, "auto")]
            table.append(f"| {key} | {name} | " + " | ".join(words) + " |")
    notes = [f"- [{number}] {name}: {what}: {why}" + (f"; {remedy}" if remedy else "")
             for (name, (what, why, remedy)), number in gaps.numbers.items()]
    builds = ", ".join(f"{key} ({kernels[key]})" for key in results)
    return [f"Kernels: {builds}.", "", *table, "", *notes]


def document(results, kernels):
    """The same for programs."""
    def row(key, name, cells):
        drivers = {
            driver: {
                "verdict": cell.verdict,
                "cases": cell.cases,
                "again": cell.again,
                "mode": cell.mode,
                "gaps": [dict(zip(("what", "why", "remedy"), gap)) for gap in cell.gaps],
                "faults": cell.faults,
            }
            for driver, cell in cells.items() if driver != "auto"
        }
        auto = {"driver": cells["auto"].chosen, "faults": cells["auto"].faults}
        return {"kernel": key, "privilege": name, "drivers": drivers, "auto": auto}

    return {"kernels": kernels, "rows": [row(key, *pair) for key, rows in results.items() for pair in rows]}


def measured(options):
    """When kernels of one's own were measured, and with which options. Debian's have versions instead."""
    words = " ".join(["tools/test-kernels", *options])
    return [f"Measured on {datetime.date.today().isoformat()} by `{words}`."]


def write(page, text, marks=DEBIAN):
    """Puts the lines between the page's two marks."""
    begin, end = marks
    with open(page, encoding="utf-8") as file:
        before, _, rest = file.read().partition(begin)
    after = rest.partition(end)[2]
    if not after:
        raise RuntimeError(f"{page} lacks the lines {begin} and {end}")
    with open(page + ".new", "w", encoding="utf-8") as file:
        file.write(before + begin + "\n\n" + "\n".join(text) + "\n\n" + end + after)
    os.rename(page + ".new", page)
