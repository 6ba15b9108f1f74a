//! The command line of the benchmark.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures what lanner's drivers cost, beside bpftrace, strace and an empty BPF program.
///
/// Results go to standard output. Progress, and what was left out, go to standard error. `make bench` and
/// `make bench-quick` build what is needed and run this.
#[derive(Debug, Parser)]
#[command(name = "lanner-bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What this program does besides the benchmark.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Opens a driver, counts its events and discards them (the benchmark starts this itself).
    Consume(ConsumeArgs),
}

/// What the consumer captures.
#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The driver, which must serve the whole host.
    #[arg(long)]
    pub(crate) driver: String,
    /// Names of system calls, or `all`.
    #[arg(long, value_delimiter = ',', default_value = "all")]
    pub(crate) select: Vec<String>,
    /// Bytes of buffer for each CPU.
    #[arg(long, default_value_t = 8 << 20)]
    pub(crate) buffer: usize,
    /// The CPU of the load, which the consumer does not use.
    #[arg(long)]
    pub(crate) avoid: Option<usize>,
}

/// What to measure, and how thoroughly.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Fewer iterations and five rounds: a few minutes.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds; the default is 11, with --quick 5.
    #[arg(long)]
    rounds: Option<usize>,
    /// The parts: work, kernel, storm, ptrace, replay, plugins, alerts.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "work,kernel,storm,ptrace,replay,plugins,alerts"
    )]
    parts: Vec<String>,
    /// Only these loads: getpid, open, rw, forkexec, build, python, sqlite, web.
    #[arg(long, value_delimiter = ',')]
    loads: Vec<String>,
    /// Only these contestants, besides `alone`; names as in the tables, a part of the name is enough.
    #[arg(long, value_delimiter = ',')]
    contestants: Vec<String>,
    /// The lanner that is measured with ptrace; the default is the one beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) lanner: Option<PathBuf>,
    /// Another build of lanner-bench, whose drivers take part as `other core` and `other legacy`.
    #[arg(long, value_name = "FILE")]
    pub(crate) other: Option<PathBuf>,
    /// Options with which `lanner trace` uses the ptrace driver's notify mode, separated by blanks.
    #[arg(long, value_name = "OPTIONS")]
    pub(crate) notify: Option<String>,
    /// The recording to replay. It is made if the file does not exist. Without this option a temporary one is made.
    #[arg(long, value_name = "FILE")]
    pub(crate) recording: Option<PathBuf>,
    /// Also write the results to a page of documentation.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

impl Options {
    /// The number of rounds.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds
            .unwrap_or(if self.quick { 5 } else { 11 })
            .max(1)
    }

    /// Whether a part is to be measured.
    pub(crate) fn has(&self, part: &str) -> bool {
        self.parts.iter().any(|wanted| wanted == part)
    }

    /// Whether a load is to be measured.
    pub(crate) fn wants_load(&self, name: &str) -> bool {
        self.loads.is_empty() || self.loads.iter().any(|wanted| wanted == name)
    }

    /// Whether a contestant takes part.
    pub(crate) fn wants(&self, contestant: &str) -> bool {
        self.contestants.is_empty()
            || self
                .contestants
                .iter()
                .any(|wanted| contestant.contains(wanted.as_str()))
    }
}
