"""Prints what was found, and writes it into docs/conformance.md."""

import collections

import judge

HEADING = "## Beside strace"


def counts(table, drivers):
    """The counts of each driver, as a table."""
    lines = ["| driver | programs | values | equal | another format | raw in strace | raw here | wrong, explained | wrong |",
             "|---|---|---|---|---|---|---|---|---|"]
    for driver in drivers:
        found = table.counts(driver)
        total = sum(found)
        decoded = total - found[judge.RAW_THERE]
        raw = f"{found[judge.RAW_HERE]} ({100 * found[judge.RAW_HERE] / max(1, decoded):.1f} %)"
        lines.append(f"| {driver} | {len(table.programs[driver])} | {total} | {found[judge.EQUAL]} | {found[judge.FORMAT]} "
                     f"| {found[judge.RAW_THERE]} | {raw} | {found[5]} | {found[judge.WRONG]} |")
    return "\n".join(lines)


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
    """Replaces the page's part about strace."""
    with open(path) as file:
        before = file.read().split(HEADING)[0].rstrip("\n")
    first = drivers[0]
    reasons = {judge.WRONG: collections.Counter(), judge.RAW_HERE: collections.Counter()}
    for key, (verdict, _) in table.seen.items():
        if key[0] == first and verdict in reasons:
            reasons[verdict][table.explanation(key, verdict) or "others"] += 1
    lines = [
        before, "", HEADING, "",
        f"Made by `tools/strace-oracle --docs`, which builds the test programs of strace {version} and runs each alone, under",
        "strace and under each driver. A value is a parameter or a result of a call; the same pair of texts counts once, and",
        "what differs between two runs of strace does not count. *Raw here*: strace decodes the value, or a part of it, and",
        "lanner shows a number or an address; the percentage is of the values that strace decodes. *Raw in strace* is the",
        "reverse. `tools/strace-oracle --show raw-here` lists them, and `--table` counts them by call and parameter.",
        "`tools/oracle/explained.tbl` has the reasons.", "",
        counts(table, drivers), "",
    ]
    for verdict, title in ((judge.RAW_HERE, "Raw here, and why"), (judge.WRONG, "Different, and why")):
        lines += [f"{title} ({first}):", ""]
        lines += [f"- {reason} ({number})" for reason, number in reasons[verdict].most_common()]
        lines.append("")
    with open(path, "w") as file:
        file.write("\n".join(lines))
