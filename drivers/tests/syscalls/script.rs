//! The script: every call of the table in each ABI, with its arguments. The actor plays it and the test names its
//! cases. Both derive it from the tables, so that it is the same for both.

use driver_api::event::Abi;
use driver_api::table::{Kind, SYSCALLS, Syscall, VARIANTS};

/// The scenes of `scenes.tbl`.
const SCENES: &str = include_str!("scenes.tbl");

/// The ABIs in which a 64-bit program of this machine can make calls.
pub(crate) const ABIS: &[Abi] = if cfg!(target_arch = "aarch64") {
    &[Abi::Aarch64]
} else {
    &[Abi::X86_64, Abi::I386]
};

/// A case: one call.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) call: &'static Syscall,
    pub(crate) abi: Abi,
    pub(crate) nr: u32,
    /// How it differs from the other cases of the call.
    pub(crate) label: String,
    /// One word for each parameter, from the left. Parameters without a word get a value by their kind.
    pub(crate) words: Vec<String>,
    /// What every pointer to memory points to.
    pub(crate) pointers: Pointers,
    /// A signal arrives every few milliseconds.
    pub(crate) interrupted: bool,
    /// The bits of a register that its parameter does not have are not 0.
    pub(crate) dirty: bool,
    /// Who makes the call.
    pub(crate) play: Play,
}

/// What every pointer to memory points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pointers {
    Good,
    Bad,
    Null,
}

/// Who makes the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Play {
    /// The actor itself.
    Plain,
    /// A child, because the call does not return.
    Ends,
    /// The actor; the call returns twice.
    Births,
    /// A child, because it becomes another program.
    Execs,
    /// A signal handler, which returns by this call.
    Signals,
}

/// A line of `scenes.tbl`.
struct Line {
    name: &'static str,
    abi: Option<&'static str>,
    /// In addition to the call as it is generated.
    more: bool,
    interrupted: bool,
    dirty: bool,
    words: Vec<String>,
}

fn lines() -> Vec<Line> {
    let rows = SCENES.lines().map(str::trim);
    rows.filter(|row| !row.is_empty() && !row.starts_with('#'))
        .map(|row| {
            let mut words = row.split_whitespace();
            let mut name = words.next().expect("an empty row is left out");
            let more = name.starts_with('+');
            name = name.trim_start_matches('+');
            let interrupted = name.starts_with('!');
            name = name.trim_start_matches('!');
            let dirty = name.starts_with('~');
            name = name.trim_start_matches('~');
            let (name, abi) = match name.split_once('@') {
                Some((name, abi)) => (name, Some(abi)),
                None => (name, None),
            };
            assert!(
                driver_api::table::by_name(name).is_some(),
                "scenes.tbl names a call that is not in the table: {name}"
            );
            Line {
                name,
                abi,
                more,
                interrupted,
                dirty,
                words: words.map(str::to_owned).collect(),
            }
        })
        .collect()
}

/// Calls that wait forever or change the machine if all their pointers are NULL.
const NEVER_NULL: [&str; 5] = [
    "acct",
    "select",
    "_newselect",
    "pselect6",
    "pselect6_time64",
];

/// Who makes a call.
fn play(call: &Syscall) -> Play {
    match call.name {
        "exit" | "exit_group" => Play::Ends,
        "rt_sigreturn" => Play::Signals,
        "fork" | "vfork" | "clone" | "clone3" => Play::Births,
        _ => Play::Plain,
    }
}

/// Why a call of an ABI has no case.
pub(crate) fn untested(name: &str, abi: Abi) -> Option<&'static str> {
    let of_handlers = ["rt_sigreturn", "sigreturn"].contains(&name);
    (of_handlers && abi == Abi::I386).then_some(
        "only the handlers of 32-bit programs return by it, and the actor is a 64-bit program",
    )
}

/// All cases.
pub(crate) fn script() -> Vec<Case> {
    let lines = lines();
    let mut cases = Vec::new();
    for &abi in ABIS {
        for call in SYSCALLS
            .iter()
            .filter(|call| untested(call.name, abi).is_none())
        {
            if let Some(nr) = call.number(abi) {
                of_call(&mut cases, &lines, call, abi, nr);
            }
        }
    }
    let of_x32 = ["getpid", "openat", "write", "readv", "rt_sigaction"];
    for name in of_x32.iter().filter(|_| Abi::NATIVE == Abi::X86_64) {
        let call = driver_api::table::by_name(name).expect("a call of the table");
        let nr = call.number(Abi::X32).expect("x32 has it");
        cases.push(plain(call, Abi::X32, nr));
    }
    for (abi, nr) in unknown_numbers() {
        cases.push(Case {
            label: format!("number {nr}"),
            ..plain(driver_api::table::unknown(), abi, nr)
        });
    }
    cases
}

/// Numbers that the table does not have: calls of newer kernels are not to be a blind spot.
fn unknown_numbers() -> Vec<(Abi, u32)> {
    let mut all = Vec::new();
    for &abi in ABIS {
        all.extend([500, 1000, 1023, 1024, 70_000].map(|nr| (abi, nr)));
    }
    if Abi::NATIVE == Abi::X86_64 {
        // x32 alone has 512, and x86_64 alone 13
        all.extend([(Abi::X86_64, 512), (Abi::X32, 600)]);
    }
    all
}

fn plain(call: &'static Syscall, abi: Abi, nr: u32) -> Case {
    Case {
        call,
        abi,
        nr,
        label: String::new(),
        words: Vec::new(),
        pointers: Pointers::Good,
        interrupted: false,
        dirty: false,
        play: play(call),
    }
}

fn of_call(cases: &mut Vec<Case>, lines: &[Line], call: &'static Syscall, abi: Abi, nr: u32) {
    let base = plain(call, abi, nr);
    let own: Vec<&Line> = lines
        .iter()
        .filter(|line| line.name == call.name && line.abi.is_none_or(|name| name == abi.name()))
        .collect();
    let first = cases.len();
    if own.iter().all(|line| line.more) {
        cases.push(base.clone());
    }
    for line in own {
        cases.push(Case {
            label: line.words.join(" "),
            words: line.words.clone(),
            interrupted: line.interrupted,
            dirty: line.dirty,
            ..base.clone()
        });
    }
    if matches!(base.play, Play::Plain | Play::Births)
        && !cases[first].interrupted
        && takes_memory(call)
    {
        let like = cases[first].clone();
        cases.push(Case {
            label: "unreadable pointers".to_owned(),
            pointers: Pointers::Bad,
            ..like.clone()
        });
        if !NEVER_NULL.contains(&call.name) {
            cases.push(Case {
                label: "NULL pointers".to_owned(),
                pointers: Pointers::Null,
                ..like
            });
        }
    }
    if base.play == Play::Plain && !cases[first].interrupted {
        let like = cases[first].clone();
        cases.push(Case {
            label: format!("{} with bits above its parameters", like.label),
            dirty: true,
            ..like
        });
    }
    if matches!(call.name, "execve" | "execveat") {
        cases.push(Case {
            label: "a program".to_owned(),
            words: exec_words(call),
            play: Play::Execs,
            ..base.clone()
        });
    }
    of_variants(cases, &base);
}

fn exec_words(call: &Syscall) -> Vec<String> {
    let words = ["exe", "argv", "envp"].map(str::to_owned);
    if call.name == "execveat" {
        [
            vec!["-100".to_owned()],
            words.to_vec(),
            vec!["0".to_owned()],
        ]
        .concat()
    } else {
        words.to_vec()
    }
}

/// One case for each row of a variant that points to memory.
fn of_variants(cases: &mut Vec<Case>, base: &Case) {
    let params = base.call.params;
    for (at, param) in params.iter().enumerate() {
        let Kind::By(variant, selectors) = param.kind else {
            continue;
        };
        let rows = variant
            .rows
            .iter()
            .filter(|row| is_memory(&row.meaning.kind));
        for row in rows {
            let mut words = vec!["_".to_owned(); at + 1];
            words[usize::from(selectors[0])] = format!("{:#x}", row.key.0);
            if let Some(second) = selectors.get(1) {
                words[usize::from(*second)] = format!("{:#x}", row.key.1);
            }
            cases.push(Case {
                label: format!("{} by {:#x} {:#x}", param.name, row.key.0, row.key.1),
                words,
                ..base.clone()
            });
        }
    }
}

/// Whether a parameter of this kind points to memory that is captured.
pub(crate) fn is_memory(kind: &Kind) -> bool {
    kind.is_memory()
}

fn takes_memory(call: &Syscall) -> bool {
    call.params.iter().any(|param| match param.kind {
        Kind::By(variant, _) => VARIANTS[usize::from(variant.id)]
            .rows
            .iter()
            .any(|row| is_memory(&row.meaning.kind)),
        kind => is_memory(&kind),
    })
}
