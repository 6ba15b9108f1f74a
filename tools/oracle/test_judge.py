"""Tests of the comparison: python3 -B -m unittest discover -s tools/oracle"""

import unittest

import judge
import table
import text


class Lines(unittest.TestCase):
    def test_a_call_is_taken_apart(self):
        found = text.call(r'openat(AT_FDCWD, "a, \")b", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file)')
        self.assertEqual(found.params, ["AT_FDCWD", r'"a, \")b"', "O_RDONLY|O_CLOEXEC"])
        self.assertEqual(found.ret, "-1 ENOENT (No such file)")

    def test_a_call_that_did_not_return_is_none(self):
        self.assertIsNone(text.call("pause( <unfinished ...>"))
        self.assertIsNone(text.call("+++ exited with 0 +++"))

    def test_comments_are_left_out_but_not_in_strings(self):
        self.assertEqual(text.plain('{a=0x5 /* A_??? */, b="/* x */"}'), '{a=0x5 , b="/* x */"}')


class Values(unittest.TestCase):
    def check(self, verdict, theirs, ours):
        self.assertEqual(judge.NAMES[judge.value(theirs, ours)], verdict, f"{theirs} and {ours}")

    def test_equal(self):
        self.check("equal", "{a=1}", "{a=1}")

    def test_another_format(self):
        self.check("another format", "0x10", "16")
        self.check("another format", "[{a=1}]", "{a=1}")
        self.check("another format", "{b=2, a=1}", "{a=1, b=2}")
        self.check("another format", r'"\x61\x62"', '"ab"')
        self.check("another format", '[{iov_base="a", iov_len=1}, {iov_base="b", iov_len=1}]', '"ab"')
        self.check("another format", "[110 => 2]", "[2]")
        self.check("another format", "QCMD(Q_QUOTAON, USRQUOTA)", "Q_QUOTAON|USRQUOTA")
        self.check("another format", "[0000000000000005]", "[0 2]")
        self.check("another format", "[BPF_STMT(BPF_RET|BPF_K, 0x1)]", "[{code=BPF_RET|BPF_K, jt=0, jf=0, k=0x1}]")
        self.check("another format", "A<<28|0x2<<12|B|0x1", "A<<28|B|0x2001")
        self.check("another format", "A|0<<12|0", "A")
        self.check("another format", "BPF_JUMP(BPF_JMP|BPF_JA, 0x4, 0x1, 0x2)", "{code=BPF_JMP|BPF_JA, jt=1, jf=2, k=0x4}")
        self.check("wrong", "BPF_JUMP(BPF_JMP|BPF_JA, 0x4, 0x1, 0x2)", "{code=BPF_JMP|BPF_JA, jt=2, jf=1, k=0x4}")

    def test_raw_here(self):
        self.check("raw here", "PR_PAC_APIAKEY", "0x1")
        self.check("raw here", "{nlmsg_len=20, nlmsg_type=0}", r'"\24\0\0\0\0\0"')
        self.check("raw here", "{a=1, b=X_Y}", "{a=1, b=7}")
        self.check("raw here", '{name="x"}', "0x7ffff7fbc000")
        self.check("raw here", "FIONREAD", "_IOC(_IOC_READ, 0x54, 0x1b, 0x4)")

    def test_raw_in_strace(self):
        self.check("raw in strace", "0x7ffff7fbc000", "{a=1}")
        self.check("raw in strace", "0x40 /* X_??? */", "X_NEW")
        self.check("raw in strace", r'"\x01\x02"', "{a=1}")
        self.check("raw in strace", "[{a=1}, [{b=2}, 0x7ffff7fbcfff]]", '[{a=1}, [{b=2}, "x"]]...')

    def test_what_strace_could_not_read(self):
        self.check("another format", "[{a=1}, 0x7ffff7fbcfff]", "{a=1}...")
        self.check("another format", "{a=1, 0x7ffff7fbcfff}", "{a=1, b=2}")
        self.check("wrong", "[{a=1}, 5]", "{a=1}...")

    def test_members_with_other_names(self):
        self.check("another format", "{on=1, off=0, __reserved_1=0x3}", "{bits=on|new|0x8000000000}")
        self.check("another format", "{pad=0x7a69}", "{flags=0x7a69}")
        self.check("raw here", "{pad=0x7a69}", "{flags=0x7a60}")
        self.check("another format", "{family=AF_INET}", "{idiag_family=AF_INET, ...}")
        self.check("another format", "{a={b=1}}", "{a=0x5, b=1}")

    def test_wrong(self):
        self.check("wrong", "5", "6")
        self.check("wrong", "A|B", "A|C")
        self.check("wrong", '"ab"', '"ac"')
        self.check("wrong", "{a=1}", "{a=2}")

    def test_a_parameter_that_means_nothing_may_be_left_out(self):
        pairs = judge.parameters(["a", "FUTEX_WAIT", "7"], ["a", "FUTEX_WAIT", "0x5", "7"])
        self.assertEqual(pairs, [("a", "a"), ("FUTEX_WAIT", "FUTEX_WAIT"), ("7", "7")])

    def test_what_a_program_prints_is_aligned_apart(self):
        lines = lambda *said: [text.call(line) for line in said]
        ours = lines("bpf(0) = 0", "bpf(1) = 0", 'write(1, "a", 1) = 1', "bpf(2) = 0", "bpf(2) = 0")
        theirs = lines("bpf(0) = 0", 'write(1, "b", 1) = 1', "bpf(1) = 0", "bpf(2) = 0")
        pairs = [(one and one.params[0], other and other.params[0]) for one, other in table.align(theirs, ours)]
        self.assertEqual(pairs, [("0", "0"), ("1", "1"), ("1", "1"), ("2", "2"), (None, "2")])


if __name__ == "__main__":
    unittest.main()
