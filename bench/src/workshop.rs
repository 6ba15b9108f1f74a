//! The loads: the program of `load.c`, a small C project to build, a python to start, a database, and a web server.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::{Error, Result, say};

/// Source files of the C project.
const FILES: usize = 12;
/// Functions in each of them.
const FUNCTIONS: usize = 12;

/// A load, with which contestants are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Load {
    Getpid,
    Open,
    ReadWrite,
    ForkExec,
    Build,
    Python,
    Database,
    Web,
}

impl Load {
    /// Those that programs do all day. Under rules, they are what is measured.
    pub(crate) const WORK: [Self; 4] = [Self::Build, Self::Python, Self::Database, Self::Web];
    /// Those that show what single calls cost.
    pub(crate) const ALL: [Self; 6] = [
        Self::Getpid,
        Self::Open,
        Self::ReadWrite,
        Self::ForkExec,
        Self::Build,
        Self::Python,
    ];

    /// Its name on the command line.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Getpid => "getpid",
            Self::Open => "open",
            Self::ReadWrite => "rw",
            Self::ForkExec => "forkexec",
            Self::Build => "build",
            Self::Python => "python",
            Self::Database => "sqlite",
            Self::Web => "web",
        }
    }

    /// Its name in the tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Getpid => "getpid",
            Self::Open => "open+close",
            Self::ReadWrite => "1-byte read+write",
            Self::ForkExec => "fork+exec",
            Self::Build => "build of a small C project",
            Self::Python => "python start-up",
            Self::Database => "sqlite",
            Self::Web => "web server",
        }
    }

    /// Iterations of one measurement. Without a tracer a quick measurement takes about 0.2 s. No measurement takes much
    /// longer than a second, because `load.c` then stops early.
    pub(crate) fn iterations(self, quick: bool) -> u64 {
        let (quickly, thoroughly) = match self {
            Self::Getpid => (500_000, 1_500_000),
            Self::Open => (100_000, 300_000),
            Self::ReadWrite => (200_000, 600_000),
            Self::ForkExec => (300, 800),
            Self::Build => (1, 1),
            Self::Python => (10, 20),
            Self::Database | Self::Web => (1, 2),
        };
        if quick { quickly } else { thoroughly }
    }
}

/// The result of a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran {
    /// Fewer than requested if those would have taken too long.
    pub(crate) iterations: u64,
    /// Nanoseconds for all of them.
    pub(crate) ns: u64,
    /// Nanoseconds of CPU time that the load's parent used meanwhile: a tracer that has started it.
    pub(crate) parent_ns: u64,
}

impl Ran {
    /// Nanoseconds for one iteration.
    pub(crate) fn each(self) -> f64 {
        self.ns as f64 / self.iterations as f64
    }
}

/// Where a load may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affinity {
    /// On this CPU alone.
    Cpu(usize),
    /// On the CPUs that it inherits.
    Anywhere,
}

/// The loads, ready to be run.
pub(crate) struct Workshop {
    folder: TempDir,
    load: PathBuf,
    project: Option<Vec<OsString>>,
    python: Option<Vec<OsString>>,
    database: Option<Vec<OsString>>,
    web: Option<Vec<OsString>>,
    cpus: Vec<usize>,
}

impl Workshop {
    /// Compiles the load program and writes the C project.
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir().map_err(Error::failed("make a folder"))?;
        let source = folder.path().join("load.c");
        let load = folder.path().join("load");
        write(&source, include_str!("../load.c"))?;
        let status = Command::new("cc")
            .args(["-O2", "-o"])
            .arg(&load)
            .arg(&source)
            .status()
            .map_err(Error::failed("run cc (install a C compiler)"))?;
        Error::check("cc, which compiles load.c,", status)?;
        let cpus = sched_getaffinity(Pid::from_raw(0))
            .map_err(Error::failed("read the CPUs of this process"))?;
        let cpus = (0..CpuSet::count())
            .filter(|cpu| cpus.is_set(*cpu).unwrap_or(false))
            .collect();
        let python = python();
        Ok(Self {
            project: project(folder.path())?,
            database: database(folder.path()),
            web: web(folder.path(), python.as_deref())?,
            python,
            folder,
            load,
            cpus,
        })
    }

    /// The CPUs that this process may use.
    pub(crate) fn cpus(&self) -> &[usize] {
        &self.cpus
    }

    /// The CPU for loads: the last one, because the first serves more interrupts.
    pub(crate) fn load_cpu(&self) -> usize {
        self.cpus.last().copied().unwrap_or(0)
    }

    /// Whether a load can be run here.
    pub(crate) fn has(&self, load: Load) -> bool {
        match load {
            Load::Build => self.project.is_some(),
            Load::Python => self.python.is_some(),
            Load::Database => self.database.is_some(),
            Load::Web => self.web.is_some(),
            Load::Getpid | Load::Open | Load::ReadWrite | Load::ForkExec => true,
        }
    }

    /// Runs a load to its end. `wrapper`: the command that runs it, such as strace; empty: none.
    pub(crate) fn run(
        &self,
        load: Load,
        iterations: u64,
        affinity: Affinity,
        wrapper: &[OsString],
    ) -> Result<Ran> {
        let nothing = Vec::new();
        let (kind, command) = match load {
            Load::Build => ("run", self.project.as_ref().unwrap_or(&nothing)),
            Load::Python => ("run", self.python.as_ref().unwrap_or(&nothing)),
            Load::Database => ("run", self.database.as_ref().unwrap_or(&nothing)),
            Load::Web => ("run", self.web.as_ref().unwrap_or(&nothing)),
            Load::Getpid | Load::Open | Load::ReadWrite | Load::ForkExec => (load.key(), &nothing),
        };
        let result = self.folder.path().join("result");
        let _ = fs::remove_file(&result);
        let mut argv: Vec<OsString> = wrapper.to_vec();
        argv.extend(self.arguments(kind, iterations, affinity, &result));
        argv.extend(command.iter().cloned());
        let (program, arguments) = argv.split_first().ok_or("nothing to run")?;
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .map_err(Error::failed(format!("run {}", program.display())))?;
        if !output.status.success() {
            return Err(Error::Ended {
                program: format!("{} of {}", program.display(), load.name()),
                status: output.status,
                said: last_line(&output.stderr),
            });
        }
        read_result(&result)
    }

    /// The command of a storm of getpid. [`read_storm`](Self::read_storm) returns its result afterwards.
    pub(crate) fn storm(&self, cpu: usize, seconds: u64, rate: u64) -> Command {
        let result = self.storm_result(cpu);
        let mut command = Command::new(&self.load);
        let arguments = self.arguments("storm", seconds, Affinity::Cpu(cpu), &result);
        command.args(arguments.iter().skip(1)).arg(rate.to_string());
        command
    }

    /// The result of the storm on this CPU.
    pub(crate) fn read_storm(&self, cpu: usize) -> Result<Ran> {
        read_result(&self.storm_result(cpu))
    }

    fn storm_result(&self, cpu: usize) -> PathBuf {
        self.folder.path().join(format!("storm-{cpu}"))
    }

    fn arguments(&self, kind: &str, n: u64, affinity: Affinity, result: &Path) -> [OsString; 5] {
        let cpu = match affinity {
            Affinity::Cpu(cpu) => cpu.to_string(),
            Affinity::Anywhere => "-1".to_owned(),
        };
        [
            self.load.clone().into(),
            cpu.into(),
            result.into(),
            kind.into(),
            n.to_string().into(),
        ]
    }
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().last().unwrap_or_default().to_owned()
}

fn read_result(path: &Path) -> Result<Ran> {
    let text = fs::read_to_string(path).map_err(Error::failed("read the result of the load"))?;
    let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(iterations), Some(ns), Some(parent_ns)) if iterations > 0 => Ok(Ran {
            iterations,
            ns,
            parent_ns,
        }),
        _ => Err(Error::unexpected(format!(
            "the load wrote {text:?} as its result"
        ))),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::failed(format!("write {}", path.display())))
}

/// Finds a program in PATH.
pub(crate) fn look_up(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| {
            path.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

/// Writes a C project, which is always the same, and returns the command that builds all of it.
fn project(folder: &Path) -> Result<Option<Vec<OsString>>> {
    let Some(make) = look_up("make") else {
        say("left out: the build of a C project (there is no make)");
        return Ok(None);
    };
    let folder = folder.join("project");
    fs::create_dir(&folder).map_err(Error::failed("make a folder"))?;
    let mut header = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
    let mut main = String::from("#include \"all.h\"\nint main(void)\n{\n\tlong sum = 0;\n");
    let mut objects = String::from("main.o");
    for file in 0..FILES {
        let mut source = String::from("#include \"all.h\"\n");
        for function in 0..FUNCTIONS {
            let _ = writeln!(header, "long f{file}_{function}(long n);");
            let _ = write!(
                source,
                "long f{file}_{function}(long n)\n{{\n\tchar text[64];\n\tlong sum = 0;\n\tfor (long i = 0; i < n; i++) {{\n\t\tsnprintf(text, sizeof text, \"%ld\", i * {});\n\t\tsum += strlen(text) + atol(text) % {};\n\t}}\n\treturn sum;\n}}\n",
                file + 1,
                function + 2
            );
            let _ = writeln!(main, "\tsum += f{file}_{function}({});", file + function);
        }
        write(&folder.join(format!("part{file}.c")), &source)?;
        let _ = write!(objects, " part{file}.o");
    }
    main.push_str("\tprintf(\"%ld\\n\", sum);\n\treturn 0;\n}\n");
    write(&folder.join("all.h"), &header)?;
    write(&folder.join("main.c"), &main)?;
    write(
        &folder.join("Makefile"),
        &format!(
            "CFLAGS = -O1\nprogram: {objects}\n\t$(CC) -o $@ {objects}\n{objects}: all.h Makefile\n"
        ),
    )?;
    Ok(Some(words(&[
        make.as_os_str(),
        OsStr::new("-s"),
        OsStr::new("-B"),
        OsStr::new("-C"),
        folder.as_os_str(),
    ])))
}

/// The transactions of the database in one iteration.
const TRANSACTIONS: usize = 300;

/// sqlite's shell, which makes transactions and reads what they have written.
fn database(folder: &Path) -> Option<Vec<OsString>> {
    let Some(sqlite) = look_up("sqlite3") else {
        say("left out: the database (there is no sqlite3)");
        return None;
    };
    let mut script = String::from(
        "pragma synchronous = off; create table if not exists t (n integer, text text); delete from t;",
    );
    for at in 0..TRANSACTIONS {
        let _ = write!(script, "insert into t values ({at}, hex(randomblob(100)));");
        let _ = write!(script, "select count(*) from t where n < {at};");
    }
    let file = folder.join("database");
    Some(words(&[
        sqlite.as_os_str(),
        file.as_os_str(),
        OsStr::new(&script),
    ]))
}

/// Python's web server answers requests of another process.
const WEB: &str = r#"
import http.client, http.server, os, signal, sys
os.chdir(sys.argv[1])
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
child = os.fork()
if child == 0:
    server.serve_forever()
for i in range(200):
    client = http.client.HTTPConnection(*server.server_address)
    client.request("GET", "/page")
    assert len(client.getresponse().read()) == 4096
    client.close()
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"#;

fn web(folder: &Path, python: Option<&[OsString]>) -> Result<Option<Vec<OsString>>> {
    let Some(python) = python.and_then(|command| command.first()) else {
        return Ok(None);
    };
    let folder = folder.join("served");
    fs::create_dir(&folder).map_err(Error::failed("make a folder"))?;
    write(&folder.join("page"), &"x".repeat(4096))?;
    Ok(Some(words(&[
        python,
        OsStr::new("-c"),
        OsStr::new(WEB),
        folder.as_os_str(),
    ])))
}

/// The interpreter itself: the program python3 may be a script that looks for it.
fn python() -> Option<Vec<OsString>> {
    let found = look_up("python3").and_then(|python| {
        let output = Command::new(python)
            .args(["-c", "import sys; print(sys.executable)"])
            .output()
            .ok()?;
        let path = String::from_utf8(output.stdout).ok()?;
        Path::new(path.trim()).exists().then(|| {
            words(&[
                OsStr::new(path.trim()),
                OsStr::new("-c"),
                OsStr::new("pass"),
            ])
        })
    });
    if found.is_none() {
        say("left out: the python start-up (there is no python3)");
    }
    found
}

fn words(list: &[&OsStr]) -> Vec<OsString> {
    list.iter().map(|word| (*word).to_owned()).collect()
}
