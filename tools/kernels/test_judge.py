"""Tests what the judge calls passed, a gap, and failed. Run by `python3 -m unittest discover -s tools/kernels`."""

import json
import os
import tempfile
import unittest

import judge
import rows
import table

GAP = {"what": "loading BPF programs", "why": "no capability", "remedy": "run as root"}
ROW = rows.Row("a row", "root", ("ptrace",), drivers=("ebpf-core", "ptrace"))


def driver(name, usable, gaps):
    return {"name": name, "usable": usable, "serves": {"command": True}, "gaps": gaps}


def transcript(**changes):
    """A row as a guest prints it, in which everything passed; `changes` replaces steps by name."""
    said = {"drivers": [driver("ebpf-core", False, [GAP]), driver("ptrace", True, [])],
            "choice": {"command": {"driver": "ptrace"}}}
    steps = {
        "drivers": json.dumps(said) + "\n@end 0",
        "conformance ebpf-core": "ebpf-core: skipped, it cannot run here: no capability\n0 passed, 0 failed, 1 skipped\n@end 0",
        "named ebpf-core": "lanner: ebpf-core cannot run here: no capability\n@end 2",
        "conformance ptrace": "ptrace: clause [1] a case: ok\n27 passed, 0 failed, 0 skipped\n@end 0",
        "named ptrace": 'lanner: driver ptrace\n1/1 cat\topenat("/etc/hosts") = 3\n@end 0',
        "attach ptrace": 'lanner: driver ptrace\n1/1 cat\topenat("/etc/hosts") = 3\n@end 0',
        "auto": "lanner: driver ptrace, because ebpf-core: no capability\n@end 0",
    }
    steps.update({name.replace("_", " ").replace("ebpf core", "ebpf-core"): text for name, text in changes.items()})
    return "@row a row\n" + "".join(f"@step {name}\n{text}\n" for name, text in steps.items()) + "@done\n"


def judged(**changes):
    measured, done = judge.parse(transcript(**changes))
    assert done
    return judge.judge(ROW, measured["a row"])


class Judge(unittest.TestCase):
    def failed(self, name, **changes):
        cells = judged(**changes)
        self.assertEqual(cells[name].verdict, judge.FAILED)
        return cells[name].faults[0]

    def test_what_works_has_passed_and_what_is_named_is_a_gap(self):
        cells = judged()
        self.assertEqual([cell.faults for cell in cells.values()], [[], [], []])
        self.assertEqual(cells["ebpf-core"].verdict, judge.GAP)
        self.assertEqual((cells["ptrace"].verdict, cells["ptrace"].cases), (judge.PASSED, 27))
        self.assertEqual(cells["auto"].chosen, "ptrace")

    def test_a_case_that_fails_is_a_failure(self):
        text = "ptrace: clause [1] a case: FAILED: no\n26 passed, 1 failed, 0 skipped\n@end 1"
        self.assertIn("a case: FAILED", self.failed("ptrace", conformance_ptrace=text))

    def test_what_a_suite_puts_up_with_has_to_be_named(self):
        text = "ptrace: clause [1] a case: ok (gap: a program's file)\n27 passed, 0 failed, 0 skipped\n@end 0"
        self.assertIn("does not name", self.failed("ptrace", conformance_ptrace=text))
        text = text.replace("gap: a program's file", "run 1 times more, as runs of programs were skipped")
        self.assertIn("does not name that gap", self.failed("ptrace", conformance_ptrace=text))
        gaps = [{**GAP, "what": judge.PREEMPTED}]
        said = {"drivers": [driver("ebpf-core", False, [GAP]), driver("ptrace", True, gaps)],
                "choice": {"command": {"driver": "ptrace"}}}
        cell = judged(conformance_ptrace=text, drivers=json.dumps(said) + "\n@end 0")["ptrace"]
        self.assertEqual((cell.faults, cell.again), ([], 1))

    def test_a_suite_that_ran_nothing_is_a_failure(self):
        self.assertIn("no case", self.failed("ptrace", conformance_ptrace="0 passed, 0 failed, 0 skipped\n@end 0"))

    def test_a_gap_that_was_not_named_before_is_a_failure(self):
        text = 'lanner: driver ptrace\nlanner: gap: paths: not found\nopenat("/etc/hosts") = 3\n@end 0'
        self.assertIn("does not name", self.failed("ptrace", named_ptrace=text))

    def test_a_refusal_for_another_reason_or_by_another_driver_is_a_failure(self):
        text = "lanner: ebpf-core failed\n@end 2"
        self.assertIn("should refuse", self.failed("ebpf-core", named_ebpf_core=text))
        text = 'lanner: driver ptrace, because no capability\nopenat("/etc/hosts") = 3\n@end 0'
        self.assertIn("should refuse", self.failed("ebpf-core", named_ebpf_core=text))

    def test_a_driver_that_has_to_work_may_not_be_a_gap(self):
        row = rows.Row("a row", "root", ("ebpf-core",), drivers=("ebpf-core",))
        measured, _ = judge.parse(transcript())
        self.assertIn("should work", judge.judge(row, measured["a row"])["ebpf-core"].faults[0])

    def test_a_kernel_without_types_excuses_the_driver_that_names_them_and_no_other(self):
        row = rows.Row("a row", "root", ("ebpf-core",), drivers=("ebpf-core",))
        types = {"what": "kernel types", "why": "no capability", "remedy": ""}
        for gap, right in ((types, True), (GAP, False)):
            said = {"drivers": [driver("ebpf-core", False, [gap]), driver("ptrace", True, [])],
                    "choice": {"command": {"driver": "ptrace"}}}
            measured, _ = judge.parse("@lacks btf\n" + transcript(drivers=json.dumps(said) + "\n@end 0"))
            self.assertEqual(judge.judge(row, measured["a row"])["ebpf-core"].faults == [], right)

    def test_a_kernel_without_notifications_excuses_ptrace_in_the_rows_that_need_them_alone(self):
        gap = {"what": "seccomp user notification", "why": "no capability", "remedy": "use Linux 5.5 or later"}
        said = {"drivers": [driver("ebpf-core", False, [GAP]), driver("ptrace", False, [gap])], "choice": {}}
        text = "@lacks notify\n" + transcript(
            drivers=json.dumps(said) + "\n@end 0",
            conformance_ptrace="ptrace: skipped, it cannot run here: no capability\n0 passed, 0 failed, 1 skipped\n@end 0",
            named_ptrace="lanner: ptrace cannot run here: no capability\n@end 2",
        )
        for lacking, needs, right in ((True, ("notify",), True), (False, ("notify",), False), (True, ("btf",), False)):
            row = rows.Row("a row", "user", ("ptrace",), drivers=("ptrace",), needs=needs)
            measured, _ = judge.parse(text if lacking else text.replace("@lacks notify\n", ""))
            self.assertEqual(judge.judge(row, measured["a row"])["ptrace"].faults == [], right)

    def test_rows_need_features_that_the_judge_knows(self):
        for row in rows.ROWS:
            self.assertEqual([feature for feature in row.needs if feature not in judge.FEATURES], [])

    def test_the_quick_rows_have_the_documented_capabilities_of_every_kernel(self):
        quick = {row.name: row for row in rows.quick(rows.ROWS)}
        self.assertEqual(set(quick), set(rows.QUICK))
        self.assertEqual(quick["a user with CAP_SYS_ADMIN, CAP_SYS_RESOURCE"].before, "! knows_bpf_capability")
        self.assertEqual(quick["a user"].cases, "")

    def test_where_no_memory_can_be_read_numbers_are_enough(self):
        mode = {"what": "trace mode", "why": "Yama", "remedy": ""}
        blind = {"what": "the memory that parameters point to", "why": "Yama", "remedy": ""}
        for gaps, right in (([mode, blind], True), ([mode], False)):
            said = {"drivers": [driver("ebpf-core", False, [GAP]), driver("ptrace", True, gaps)],
                    "choice": {"command": {"driver": "ptrace"}}}
            cells = judged(drivers=json.dumps(said) + "\n@end 0",
                           named_ptrace="lanner: driver ptrace\n1/1 cat\topenat(AT_FDCWD, 0x1) = ?\n@end 0")
            self.assertEqual(cells["ptrace"].faults == [], right)
            self.assertEqual(cells["ptrace"].mode, "notify")

    def test_the_document_has_each_cell_with_its_gaps(self):
        document = table.document({"5.10": [("a row", judged())]}, {"5.10": "a build"})
        row = json.loads(json.dumps(document))["rows"][0]
        self.assertEqual(row["drivers"]["ebpf-core"]["gaps"], [GAP])
        self.assertEqual(row["drivers"]["ptrace"]["verdict"], judge.PASSED)
        self.assertEqual(row["auto"], {"driver": "ptrace", "faults": []})

    def test_a_page_has_the_kernels_of_ones_own_beside_the_others(self):
        with tempfile.TemporaryDirectory() as place:
            page = os.path.join(place, "page.md")
            text = "\n".join(["first", *table.DEBIAN, "between", *table.OWN, "last"])
            with open(page, "w", encoding="utf-8") as file:
                file.write(text)
            table.write(page, [*table.measured(["--few", "--kernel 4.14=..."]), "", "rows"], table.OWN)
            with open(page, encoding="utf-8") as file:
                parts = file.read().split(table.OWN[0])
            self.assertEqual(parts[0], text.split(table.OWN[0])[0])
            self.assertRegex(parts[1], r"Measured on \d{4}-\d\d-\d\d by `tools/test-kernels --few --kernel 4.14=...`.\n\nrows\n")
            self.assertTrue(parts[1].endswith("last"))
            with self.assertRaises(RuntimeError):
                table.write(page, [], ("<!-- no such line -->", "<!-- -->"))

    def test_auto_has_to_take_the_best_and_to_say_why(self):
        self.assertIn("should have been taken", self.failed("auto", auto="lanner: driver ebpf-core\n@end 0"))
        self.assertIn("not said why", self.failed("auto", auto="lanner: driver ptrace\n@end 0"))

    def test_attaching_fails_only_where_a_gap_says_so(self):
        self.assertIn("attaching", self.failed("ptrace", attach_ptrace="lanner: not permitted\n@end 2"))

    def test_a_machine_that_died_is_noticed(self):
        self.assertFalse(judge.parse(transcript().replace("@done", ""))[1])

    def test_the_table_numbers_gaps_and_leaves_out_those_that_are_always_there(self):
        cells = judged()
        always = ("the whole host", "it follows processes", "")
        cells["ptrace"].gaps = [always]
        text = "\n".join(table.lines({"5.10": [("a row", cells)]}, {"5.10": "a build"}))
        self.assertIn("| 5.10 | a row | gap [1] |  | passed 27 | ptrace |", text)
        self.assertIn("- [1] ebpf-core: loading BPF programs: no capability; run as root", text)
        self.assertNotIn("the whole host", text)


if __name__ == "__main__":
    unittest.main()
