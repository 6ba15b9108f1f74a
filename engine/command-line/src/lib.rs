//! The command line of `lanner`: verbs and arguments, and the requests that they make of the libraries. The texts here are
//! what `--help` teaches.
//!
//! The arguments of `lanner trace` and `lanner top` are in `trace` and `top`. `values` parses values that have a form of their
//! own.

mod top;
mod trace;
mod values;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use session::config::DEFAULT_RULES_PLUGIN;
use session::{RecordingFormat, SourceConfig};

pub use self::top::TopArgs;
pub use trace::TraceArgs;
use values::{bytes, limit, plugin_name};

/// Watches what processes do, runs rules over it, and delivers alerts.
///
/// Events come from one of three drivers: ebpf-core (new kernels), ebpf-legacy (kernels from 4.14 on),
/// and ptrace (no privilege needed, for a command or for processes of your own). Without --driver the
/// first that works here and can do what you ask is taken, and lanner says which and why.
#[derive(Debug, Parser)]
#[command(name = "lanner", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Say more on standard error; twice: say everything. LANNER_LOG=debug does the same.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

const EXAMPLES: &str = "Examples:
  lanner run                                 the whole host, default rules (needs privilege)
  lanner run -r my_rules.yaml --json         your rules, alerts as JSON lines
  lanner run -- cat /etc/shadow              one command and all it starts; no privilege needed
  lanner run -p 1234                         a running process and all it starts
  lanner trace -e openat,connect -- curl localhost
  lanner trace --count proc.name,evt.type    the busiest programs and calls
  lanner top                                 live: busy processes, alerts, calls, files; ? helps
  lanner record -o FILE -- make              events in a file; lanner run --replay FILE
  lanner rules check my_rules.yaml           what is wrong with them
  lanner drivers                             what each driver can do on this host";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run rules over events and deliver alerts.
    Run(RunArgs),
    /// Check the configuration, or print its schema.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print events, one line each.
    Trace(TraceArgs),
    /// Show live what happens: processes, alerts, calls, files, connections, containers.
    Top(TopArgs),
    /// Keep events in a file, to be replayed with `lanner run --replay` or `lanner trace --replay`.
    Record(RecordArgs),
    /// Write the events of a recording or a capture in the other format.
    Convert(ConvertArgs),
    /// Show what each driver can do on this host, what it cannot, and what would change that.
    Drivers(DriversArgs),
    /// List the system calls, with their numbers and parameters.
    Syscalls(ListArgs),
    /// List the fields that rules and outputs can use.
    Fields(ListArgs),
    /// Check, list, explain and test rules.
    #[command(subcommand)]
    Rules(RuleVerb),
    /// List the plugins, try one out, or begin a new one.
    Plugins(PluginArgs),
    /// Send an alert through outputs, to see whether it arrives.
    #[command(subcommand)]
    Outputs(OutputVerb),
    /// Copy this program to another file: for images without a shell. Only a lanner with built-in plugins is complete in one
    /// file.
    Copy(CopyArgs),
}

/// `lanner copy`.
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// The file to write; one that is there is replaced.
    #[arg(value_name = "FILE")]
    pub to: PathBuf,
}

/// Whose events, from which driver, for how long.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// ebpf-core, ebpf-legacy, ptrace, or auto: the first that works here. A driver that is named is
    /// never replaced by another.
    #[arg(short, long, default_value = drivers::AUTO, value_name = "DRIVER")]
    pub driver: String,
    /// How the ptrace driver captures: trace, notify (seccomp notification, for places where ptrace is
    /// forbidden: calls at their entry, without results), or auto: trace where it works, else notify.
    #[arg(long, default_value = drivers::AUTO, value_name = "MODE")]
    pub ptrace_mode: String,
    /// The drivers that auto tries, in this order, separated by commas; those that are not named are not
    /// tried.
    #[arg(long, value_name = "DRIVER", value_delimiter = ',')]
    pub driver_order: Vec<String>,
    /// Watch this running process, all its threads and all it starts from now on. May be repeated.
    #[arg(short, long = "pid", value_name = "PID")]
    pub pids: Vec<u32>,
    /// Stop after this time, such as 10s or 5m.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Bytes of buffer for each CPU, a power of two; K, M and G are understood. Default: 8M, or less if the host or lanner's
    /// cgroup has little memory.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub buffer: Option<usize>,
    /// Bytes captured of a buffer that is read, written, sent or received.
    #[arg(long, value_name = "BYTES", default_value_t = 80, value_parser = clap::value_parser!(u32).range(0..=4096))]
    pub snaplen: u32,
    /// How much else is captured: path, strings (an argument vector, an environment), arrays (bytes of
    /// structures and numbers), entries (of iovecs, messages). May be repeated.
    #[arg(long = "limit", value_name = "NAME=N", value_parser = limit)]
    pub limits: Vec<(String, u32)>,
    /// A file with the kernel's types (BTF), for kernels that have none of their own in /sys/kernel/btf. For
    /// ebpf-core; with `auto`, drivers that need no types can still be chosen.
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// Take the events from a file instead of a driver: a recording of `lanner record`, or a capture of Falco or sysdig (.scap).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pids", "command", "duration"])]
    pub replay: Option<PathBuf>,
    /// A command to start and to watch, with all it starts. Its exit status becomes lanner's. All that follows its name is its own;
    /// `--` before it is needed only if the name begins with `-`.
    #[arg(trailing_var_arg = true, value_name = "COMMAND", value_hint = clap::ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// `lanner run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A rule file, or a folder of them; may be repeated. Without any: the default rules.
    #[arg(short, long = "rules", value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// A configuration file (YAML). Options of the command line override it.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets a key of the configuration, such as `json_output=true`, `outputs[0].deadline=5s` or
    /// `rules_files[]=more.yaml` (appends). May be repeated.
    #[arg(short = 'o', long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
    /// Alerts as JSON lines, as Falco writes them.
    #[arg(long)]
    pub json: bool,
    /// Write the alerts to this file instead of standard output, which the command uses as well. They are appended.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Where plugins are; may be repeated.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
    /// Whose events.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// `lanner config`.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Say what is wrong with a configuration and the rules that it names. Exit status 1: there are errors.
    Check(ConfigArgs),
    /// Print the JSON schema of the configuration file.
    Schema,
    /// Convert Falco's configuration (falco.yaml). Prints lanner's, and on standard error a line for each key that
    /// has no counterpart, with the reason.
    FromFalco(FromFalcoArgs),
}

/// `lanner config from-falco`.
#[derive(Debug, Args)]
pub struct FromFalcoArgs {
    /// Falco's configuration.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `lanner config check`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The file.
    #[arg(value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file, as `lanner run` takes it.
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        conflicts_with = "config"
    )]
    named: Option<PathBuf>,
    /// Sets a key, as for `lanner run`.
    #[arg(short = 'o', long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
    /// Where plugins are; may be repeated.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
}

impl ConfigArgs {
    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.config.as_deref().or(self.named.as_deref())
    }
}

/// `lanner outputs`.
#[derive(Debug, Subcommand)]
pub enum OutputVerb {
    /// Send one alert through outputs of the configuration. Exit status 1: it was not delivered.
    Test(OutputTestArgs),
}

/// `lanner outputs test`.
#[derive(Debug, Args)]
pub struct OutputTestArgs {
    /// The outputs; all if none is named.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets a key, as for `lanner run`.
    #[arg(short = 'o', long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
    /// Where plugins are; may be repeated.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
}

impl SourceArgs {
    /// What the session is to watch.
    pub fn config(&self) -> SourceConfig {
        SourceConfig {
            driver: self.driver.clone(),
            mode: self.ptrace_mode.clone(),
            driver_order: self.driver_order.clone(),
            pids: self.pids.clone(),
            duration: self.duration,
            buffer: self.buffer,
            snaplen: self.snaplen,
            limits: self.limits.clone(),
            btf: self.btf.clone(),
            replay: self.replay.clone(),
            command: self.command.clone(),
        }
    }
}

/// The format of a file of events.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FileFormat {
    /// That of Falco, sysdig and Stratoshark.
    Scap,
    /// lanner's own, which keeps all that the driver captured.
    Lanner,
}

impl FileFormat {
    /// The format that was asked for; else the one that the file's name asks for.
    pub fn of(asked: Option<Self>, file: &Path) -> RecordingFormat {
        match asked {
            Some(Self::Scap) => RecordingFormat::Scap,
            Some(Self::Lanner) => RecordingFormat::Lanner,
            None => RecordingFormat::of(file),
        }
    }
}

/// `lanner convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// A recording of `lanner record`, or a capture of Falco or sysdig.
    #[arg(value_name = "FROM")]
    pub from: PathBuf,
    /// The file to write; one that is there is replaced.
    #[arg(value_name = "TO")]
    pub to: PathBuf,
    /// The format of the file that is written. Without: scap if its name ends so, else lanner's own.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<FileFormat>,
}

/// `lanner record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// The file to write; one that is there is replaced.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The file's format. Without: scap if its name ends so, else lanner's own.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<FileFormat>,
    /// Names of system calls and classes, as for `lanner trace`: these, and what the state needs. Without: everything.
    #[arg(short, long = "events", value_name = "NAME")]
    pub events: Vec<String>,
    /// Keep how long each call took (`trace -T`, `evt.latency`). Only in lanner's own format.
    #[arg(long)]
    pub times: bool,
    /// Whose events.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// `lanner drivers`.
#[derive(Debug, Args)]
pub struct DriversArgs {
    /// Print the commands that close gaps on this host, where commands can. They are for a root shell; lanner runs none.
    #[arg(long)]
    pub fix: bool,
    /// As JSON, with these commands.
    #[arg(long)]
    pub json: bool,
    /// The order in which auto would try them, as for `lanner run`.
    #[arg(long, value_name = "DRIVER", value_delimiter = ',')]
    pub driver_order: Vec<String>,
    /// A file with the kernel's types, as for `lanner run`.
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
}

/// `lanner syscalls`, `lanner fields`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// As a page of documentation.
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

/// `lanner rules`.
#[derive(Debug, Subcommand)]
pub enum RuleVerb {
    /// Say what is wrong with rule files, and what would be right. Exit status 1: there are errors.
    Check(RuleCheckArgs),
    /// List the rules.
    List(RuleListArgs),
    /// Show a rule's condition with everything filled in, its event types and its fields.
    Explain(RuleExplainArgs),
    /// Run rules against events that test files describe. Exit status 1: a test failed.
    Test(RuleTestArgs),
}

/// Which plugin reads the rules, how, and how the answer is shown.
#[derive(Debug, Args)]
pub struct UseArgs {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// The rule plugin.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_RULES_PLUGIN)]
    pub plugin: String,
    /// Where plugins are; may be repeated.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
    /// Leave out rules that use a field or an event type which this lanner does not have, with a
    /// warning, instead of refusing the files.
    #[arg(long)]
    pub skip_unknown: bool,
    /// Refuse whatever Falco would refuse, so that the rules can be used there, too.
    #[arg(long)]
    pub strict_falco: bool,
}

/// `lanner rules check`.
#[derive(Debug, Args)]
pub struct RuleCheckArgs {
    /// Rule files and folders of them, in the order in which they are loaded. Without any: the default rules.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Warnings count as errors do.
    #[arg(long)]
    pub strict: bool,
    /// Also what is merely worth knowing, such as macros that no rule uses.
    #[arg(long)]
    pub notes: bool,
    /// How they are read, and shown.
    #[command(flatten)]
    pub using: UseArgs,
}

/// `lanner rules list`.
#[derive(Debug, Args)]
pub struct RuleListArgs {
    /// Rule files and folders of them. Without any: the default rules.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How they are read, and shown.
    #[command(flatten)]
    pub using: UseArgs,
}

/// `lanner rules explain`.
#[derive(Debug, Args)]
pub struct RuleExplainArgs {
    /// Name of the rule.
    pub rule: String,
    /// A rule file, or a folder of them; may be repeated. Without any: the default rules.
    #[arg(short, long = "rules", value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// How they are read, and shown.
    #[command(flatten)]
    pub using: UseArgs,
}

/// `lanner rules test`.
#[derive(Debug, Args)]
pub struct RuleTestArgs {
    /// Test files (YAML); docs/rules.md has the format.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// A rule file instead of those that the test files name; may be repeated.
    #[arg(short, long = "rules", value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// How they are read, and shown.
    #[command(flatten)]
    pub using: UseArgs,
}

/// `lanner plugins`; without a verb it lists.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct PluginArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<PluginVerb>,
    /// Of the list.
    #[command(flatten)]
    pub list: PluginListArgs,
}

/// What `lanner plugins` can do.
#[derive(Debug, Subcommand)]
pub enum PluginVerb {
    /// List the plugins with their settings, and those that were refused, with the reason.
    List(PluginListArgs),
    /// Run a plugin through everything that lanner may do to it. Exit status 1: it failed.
    Check(PluginCheckArgs),
    /// Write a crate with the beginning of a plugin and its test.
    New(PluginNewArgs),
}

/// `lanner plugins list`.
#[derive(Debug, Args)]
pub struct PluginListArgs {
    /// As JSON, with the schemas of the settings and SHA-256 sums.
    #[arg(long)]
    pub json: bool,
    /// Where plugins are; may be repeated.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
    /// How long loading a plugin may take.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub deadline: Duration,
    /// List this file alone, in this process, as JSON.
    #[arg(long, value_name = "FILE", hide = true)]
    pub file: Option<PathBuf>,
}

/// `lanner plugins check`.
#[derive(Debug, Args)]
pub struct PluginCheckArgs {
    /// The plugin's file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Settings to open it with, as JSON.
    #[arg(long, value_name = "JSON", default_value = "")]
    pub settings: String,
    /// A rule file to open it with; may be repeated.
    #[arg(short, long = "rules", value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// How long a call may take; one that takes longer has failed, and ends the run.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub deadline: Duration,
    /// Also measure what a call costs, in nanoseconds.
    #[arg(long)]
    pub cost: bool,
    /// Deliver the alerts of the check even if the settings have the address of another host.
    #[arg(long)]
    pub deliver: bool,
    /// Load the plugin into this process.
    #[arg(long, hide = true)]
    pub in_this_process: bool,
}

/// `lanner plugins new`.
#[derive(Debug, Args)]
pub struct PluginNewArgs {
    /// Its name: lower-case letters, digits, `-`. A folder of this name is made.
    #[arg(value_name = "NAME", value_parser = plugin_name)]
    pub name: String,
    /// What it is to do.
    #[arg(long, value_enum, value_name = "KIND")]
    pub kind: PluginKind,
    /// The folder to make it in.
    #[arg(long = "in", value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
    /// Take the SDK from this folder, `plugins/api` of a checkout, instead of crates.io.
    #[arg(long, value_name = "DIR")]
    pub sdk_path: Option<PathBuf>,
}

/// What a new plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PluginKind {
    /// It delivers alerts.
    Output,
    /// It decides which events break a rule.
    Rules,
}
