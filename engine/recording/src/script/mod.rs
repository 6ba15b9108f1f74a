//! Rule tests: makes events, as a driver delivers them, from the descriptions in a file. docs/rules.md has the format.
//!
//! | file | holds |
//! |---|---|
//! | `format` | the file |
//! | `value` | parameters of calls |
//! | `error` | what can be wrong |

mod error;
mod format;
mod value;

use std::collections::HashMap;
use std::net::SocketAddr;

use driver_api::event::{
    Abi, Encoding, EventBuilder, EventKind, Fact, Flags, Header, Ids, Part, Status, Tuple,
};
use driver_api::table::{self, Kind, Number, SYSCALLS, Syscall};
use suggest::did_you_mean;
use zerocopy::IntoBytes;

pub use error::{ScriptError, StepError, SuiteError, ValueError};
pub use format::{Given, Process, Step, Suite, Test};
use value::Argument;

/// When the first event happens, in nanoseconds since the start of the host.
const START_NS: u64 = 3_600_000_000_000;
/// Time between two events.
const STEP_NS: u64 = 1_000_000;
/// Id of the first process to which the test gives none.
const FIRST_PID: u32 = 100;
/// The value of every pointer to memory that the event has.
const POINTER: u64 = 0x7fff_0000_1000;
/// The greatest length of a task's name in bytes (`TASK_COMM_LEN`, without the final NUL).
const MAX_NAME: usize = 15;
const NO_LOGIN: u32 = u32::MAX;

/// The events of a test.
#[derive(Debug)]
pub struct Script {
    /// Each event with the index of its step. None: the event sets the scene.
    pub events: Vec<(Vec<u8>, Option<usize>)>,
    time_ns: u64,
    /// Ids of the processes, in the order in which they appeared.
    pids: Vec<u32>,
    /// The user and the group of each process.
    owners: HashMap<u32, (u32, u32)>,
    builder: EventBuilder,
}

impl Script {
    /// Makes the events that a test describes.
    ///
    /// # Errors
    ///
    /// An event names a call, a parameter or a value that does not exist, or is incomplete.
    pub fn new(test: &Test) -> Result<Self, ScriptError> {
        let mut script = Self {
            events: Vec::new(),
            time_ns: START_NS,
            pids: Vec::new(),
            owners: HashMap::new(),
            builder: EventBuilder::new(),
        };
        for (at, process) in test.processes.iter().enumerate() {
            script
                .exec(process, None, None)
                .map_err(|source| ScriptError::Process {
                    number: at + 1,
                    source: source.into(),
                })?;
        }
        for (at, step) in test.events.iter().enumerate() {
            script.step(step, at).map_err(|source| ScriptError::Event {
                number: at + 1,
                title: step.title().to_owned(),
                source: source.into(),
            })?;
        }
        Ok(script)
    }

    fn step(&mut self, step: &Step, at: usize) -> Result<(), StepError> {
        match (&step.call, &step.exec) {
            (Some(name), None) => self.call(name, step, at),
            (None, Some(process)) => self.exec(process, step.pid, Some(at)),
            (Some(_), Some(_)) | (None, None) => Err(StepError::CallOrExec),
        }
    }

    fn header(&mut self, kind: EventKind, pid: u32) -> Header {
        self.time_ns += STEP_NS;
        let (uid, gid) = self.owners.get(&pid).copied().unwrap_or_default();
        Header {
            uid,
            gid,
            kind: kind as u8,
            abi: Abi::X86_64 as u8,
            tgid: pid,
            tid: pid,
            time_ns: self.time_ns,
            ..Header::default()
        }
    }

    fn attach(&mut self, what: u8, encoding: Encoding, bytes: &[u8]) {
        let full = bytes.len() as u64;
        self.builder
            .attach(what, Part::None, Status::Whole, encoding, full, bytes);
    }

    fn strings(&mut self, what: Fact, strings: &[String]) {
        let bytes: Vec<u8> = strings
            .iter()
            .flat_map(|text| text.bytes().chain([0]))
            .collect();
        self.attach(what as u8, Encoding::Strings, &bytes);
    }

    fn finish(&mut self, step: Option<usize>) -> Result<(), StepError> {
        let event = self.builder.finish()?;
        self.events.push((event.to_vec(), step));
        Ok(())
    }

    /// A process runs a program. A new process is forked first.
    fn exec(
        &mut self,
        process: &Process,
        of_event: Option<u32>,
        step: Option<usize>,
    ) -> Result<(), StepError> {
        let next = self.pids.iter().max().map_or(FIRST_PID, |last| last + 1);
        let pid = process.pid.or(of_event).unwrap_or(next);
        let parent = process.parent.or_else(|| {
            let others = self.pids.iter().rev().copied();
            others.into_iter().find(|other| *other != pid)
        });
        if !self.pids.contains(&pid) {
            if let Some(parent) = parent {
                let mut header = self.header(EventKind::Fork, parent);
                header.args = [pid.into(), pid.into(), 0, 0, 0, 0];
                self.builder.begin(&header);
                self.finish(None)?;
                if let Some(owner) = self.owners.get(&parent) {
                    self.owners.insert(pid, *owner);
                }
            }
            self.pids.push(pid);
        }
        let exe = process.exe.clone().or_else(|| process.name.clone());
        let exe = exe.ok_or(StepError::NoProgram)?;
        let name = process
            .name
            .clone()
            .unwrap_or_else(|| exe.rsplit('/').next().unwrap_or_default().to_owned());
        let ids = Ids {
            ppid: parent.unwrap_or(0),
            pgid: process.pgid.unwrap_or(pid),
            sid: process.sid.unwrap_or(pid),
            loginuid: login_id(process)?,
            uid: process.uid,
            euid: process.uid,
            gid: process.gid,
            egid: process.gid,
            tty: process.tty,
            memfd: process.memfd.into(),
        };
        let call = named("execve")?;
        self.owners.insert(pid, (process.uid, process.gid));
        let mut header = self.header(EventKind::Exec, pid);
        header.nr = call.number(Abi::X86_64).unwrap_or(0);
        self.builder.begin(&header);
        self.attach(Fact::Exe as u8, Encoding::Raw, exe.as_bytes());
        let args = process.args.clone().unwrap_or_else(|| vec![name.clone()]);
        self.strings(Fact::Argv, &args);
        self.strings(Fact::Env, &process.env);
        self.attach(Fact::Ids as u8, Encoding::Raw, ids.as_bytes());
        let comm = &name.as_bytes()[..name.len().min(MAX_NAME)];
        self.attach(Fact::Comm as u8, Encoding::Raw, comm);
        let cwd = process.cwd.as_deref().unwrap_or("/");
        self.attach(Fact::Cwd as u8, Encoding::Raw, cwd.as_bytes());
        self.finish(step)
    }

    fn call(&mut self, name: &str, step: &Step, at: usize) -> Result<(), StepError> {
        let call = named(name)?;
        let last = self.pids.last().copied();
        let pid = step.pid.or(last).unwrap_or(FIRST_PID);
        let mut header = self.header(EventKind::Syscall, pid);
        if let Some(code) = call.number(Abi::IoUring) {
            header.abi = Abi::IoUring as u8;
            header.flags |= Flags::ENTRY;
            header.nr = code;
        } else {
            header.nr = call
                .number(Abi::X86_64)
                .ok_or_else(|| StepError::OtherAbi(name.to_owned()))?;
        }
        header.ret = value::returned(step)?;
        let mut attached: Vec<(u8, Encoding, Vec<u8>)> = Vec::new();
        for (name, given) in &step.params {
            let (place, param) = call.param(name).ok_or_else(|| {
                let known = call.params.iter().map(|param| param.name);
                StepError::NoParameter {
                    call: call.name,
                    name: name.clone(),
                    help: did_you_mean(name, known),
                }
            })?;
            let argument =
                value::argument(&param.kind, given).map_err(|source| StepError::Parameter {
                    name: name.clone(),
                    source,
                })?;
            let number = match argument {
                Argument::Number(number) => number,
                Argument::Memory(encoding, bytes) => {
                    attached.push((u8::try_from(place).unwrap_or(0), encoding, bytes));
                    POINTER
                }
            };
            if let Some(arg) = header.args.get_mut(call.register(Abi::X86_64, place)) {
                *arg = number;
            }
        }
        default_dirfd(call, step, &mut header);
        self.builder.begin(&header);
        for (what, encoding, bytes) in &attached {
            self.attach(*what, *encoding, bytes);
        }
        self.facts(step)?;
        self.finish(Some(at))
    }

    fn facts(&mut self, step: &Step) -> Result<(), StepError> {
        let mut ends = [None, None];
        for (name, text) in &step.facts {
            let address = || {
                let parsed: Result<SocketAddr, _> = text.parse();
                parsed.map_err(|_| StepError::FactAddress {
                    name: name.clone(),
                    text: text.clone(),
                })
            };
            match name.as_str() {
                "path" => self.attach(Fact::Path as u8, Encoding::Raw, text.as_bytes()),
                "local" => ends[0] = Some(address()?),
                "remote" => ends[1] = Some(address()?),
                _ => {
                    return Err(StepError::NoFact(name.clone()));
                }
            }
        }
        match ends {
            [Some(local), Some(remote)] => {
                let protocol = if step
                    .call
                    .as_deref()
                    .is_some_and(|call| call.contains("send"))
                {
                    libc::IPPROTO_UDP
                } else {
                    libc::IPPROTO_TCP
                };
                let family = if local.is_ipv4() {
                    libc::AF_INET
                } else {
                    libc::AF_INET6
                };
                let tuple = Tuple {
                    family: u16::try_from(family).unwrap_or(0),
                    protocol: u16::try_from(protocol).unwrap_or(0),
                    local_port: local.port(),
                    remote_port: remote.port(),
                    local: value::wide(local.ip()),
                    remote: value::wide(remote.ip()),
                };
                self.attach(Fact::Tuple as u8, Encoding::Raw, tuple.as_bytes());
                Ok(())
            }
            [None, None] => Ok(()),
            [Some(_), None] | [None, Some(_)] => Err(StepError::OneEnd),
        }
    }
}

/// The login id of a process; all ones if there is none.
fn login_id(process: &Process) -> Result<u32, StepError> {
    match process.loginuid {
        None | Some(-1) => Ok(NO_LOGIN),
        Some(id) => u32::try_from(id).map_err(|_| StepError::LoginId(id)),
    }
}

/// The call with this name.
fn named(name: &str) -> Result<&'static Syscall, StepError> {
    table::by_name(name).ok_or_else(|| {
        let known = SYSCALLS.iter().map(|call| call.name);
        StepError::NoCall {
            name: name.to_owned(),
            help: did_you_mean(name, known),
        }
    })
}

/// Sets each directory descriptor that the test leaves out to the working directory.
fn default_dirfd(call: &Syscall, step: &Step, header: &mut Header) {
    for (place, param) in call.params.iter().enumerate() {
        let said = step
            .params
            .keys()
            .any(|name| param.name == name || param.aliases.contains(&name.as_str()));
        if matches!(param.kind, Kind::Number(Number::DirFd, _))
            && !said
            && let Some(arg) = header.args.get_mut(call.register(Abi::X86_64, place))
        {
            *arg = i64::from(libc::AT_FDCWD).cast_unsigned();
        }
    }
}
