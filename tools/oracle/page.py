"""Prints what was found, and writes it into docs/conformance.md."""

import collections
import re

import judge
from runs import DRIVERS

HEADING = "## Beside strace"
INTRODUCTION = """\
Made by `tools/strace-oracle --docs`, which builds the test programs of strace {version} and runs each alone, under
strace and under each driver. A value is a parameter or a result of a call; the same pair of texts counts once, and
what differs between two runs of strace does not count. *Raw here*: strace decodes the value, or a part of it, and
lanner shows a number or an address; the percentage is of the values that strace decodes. *Raw in strace* is the
reverse. ptrace-notify sees calls at their entry: what the kernel writes into memory later does not count there.
`tools/strace-oracle --show raw-here` lists the values, and `--table` counts them by call and parameter.
`tools/oracle/explained.tbl` has the reasons."""


COLUMNS = ("| driver | programs | values | equal | another format | raw in strace | raw here | wrong, explained | wrong |\n"
           "|---|---|---|---|---|---|---|---|---|")
TITLES = {judge.RAW_HERE: "Raw here, and why", judge.WRONG: "Different, and why"}


def counts(table, drivers):
    """The counts of each driver, as a table."""
    return "\n".join([COLUMNS, *(row(table, driver) for driver in drivers)])


def row(table, driver):
    found = table.counts(driver)
    total = sum(found)
    decoded = total - found[judge.RAW_THERE]
    raw = f"{found[judge.RAW_HERE]} ({100 * found[judge.RAW_HERE] / max(1, decoded):.1f} %)"
    return (f"| {driver} | {len(table.programs[driver])} | {total} | {found[judge.EQUAL]} | {found[judge.FORMAT]} "
            f"| {found[judge.RAW_THERE]} | {raw} | {found[5]} | {found[judge.WRONG]} |")


def rows(table, drivers):
    """A line for each parameter: its counts by verdict."""
    for driver in drivers:
        print(f"{driver:14} {'call':24} {'parameter':20} " + " ".join(f"{name:>14}" for name in judge.NAMES))
        for (name, param), found in sorted(table.by_parameter(driver).items()):
            print(f"{driver:14} {name:24} {param:20} " + " ".join(f"{number:14}" for number in found))


def show(table, drivers, verdict, call):
    """The values with a verdict."""
    for key, (found, program) in sorted(table.seen.items()):
        driver, name, param, theirs, ours = key
        if judge.NAMES[found] != verdict or driver not in drivers or (call and call != name):
            continue
        reason = table.explanation(key, found)
        print(f"{driver} {name} {param} ({program})" + (f": {reason}" if reason else ""))
        print(f"    strace {theirs[:300]}\n    lanner {ours[:300]}")


def write(path, table, drivers, version):
    """Replaces the page's part about strace. What it says of drivers that did not run stays."""
    with open(path) as file:
        before, _, old = file.read().partition(HEADING)
    lines = [before.rstrip("\n"), "", HEADING, "", INTRODUCTION.format(version=version), "", COLUMNS]
    for driver in DRIVERS:
        kept = [line for line in old.splitlines() if line.startswith(f"| {driver} |")]
        lines += [row(table, driver)] if driver in drivers else kept
    lines.append("")
    for verdict, title in TITLES.items():
        said = set()
        for driver in DRIVERS:
            listed = reasons(table, driver, verdict) if driver in drivers else section(old, f"{title} ({driver}):")
            # a reason that another driver has as well stands there
            new = [(reason, number) for reason, number in listed if reason not in said]
            said.update(reason for reason, _ in new)
            if new:
                lines += [f"{title} ({driver}):", "", *(f"- {reason} ({number})" for reason, number in new), ""]
    with open(path, "w") as file:
        file.write("\n".join(lines))


def reasons(table, driver, verdict):
    """The reasons why values have a verdict, and how many have each."""
    found = collections.Counter()
    for key, (one, _) in table.seen.items():
        if key[0] == driver and one == verdict:
            found[table.explanation(key, verdict) or "others"] += 1
    return found.most_common()


def section(page, title):
    """The reasons below a title of the page, as it was."""
    rest = page.partition(f"\n{title}\n\n")[2].partition("\n\n")[0]
    return [(found[1], int(found[2])) for found in re.finditer(r"^- (.*) \((\d+)\)$", rest, re.M)]
