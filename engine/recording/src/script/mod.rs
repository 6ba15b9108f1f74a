//! From the events that a test describes to events as a driver delivers them.

use std::net::{IpAddr, SocketAddr};

use driver_api::event::{
    Abi, Encoding, EventBuilder, Fact, Header, Ids, Kind, Part, Status, Tuple,
};
use driver_api::table::{
    self, Buffer, Kind as ParamKind, Number, Reading, SYSCALLS, SymbolSet, Syscall,
};
use zerocopy::IntoBytes;

mod format;

pub use format::{Given, Process, Step, Suite, Test};

use decode::errno;
use suggest::did_you_mean;

/// When the first event happens, in nanoseconds since the start of the host.
const START_NS: u64 = 3_600_000_000_000;
/// Between two events.
const STEP_NS: u64 = 1_000_000;
/// The first process that has no id of its own.
const FIRST_PID: u32 = 100;
/// What stands for a pointer to memory that the event has.
const SOMEWHERE: u64 = 0x7fff_0000_1000;
/// A name of a task is not longer (`TASK_COMM_LEN`, without the final NUL).
const MAX_NAME: usize = 15;
const NO_LOGIN: u32 = u32::MAX;

/// The events of a test.
#[derive(Debug)]
pub struct Script {
    /// Each with the step that it belongs to; none for what sets the scene.
    pub events: Vec<(Vec<u8>, Option<usize>)>,
    time_ns: u64,
    /// Ids of the processes that are there, the last one last.
    pids: Vec<u32>,
    builder: EventBuilder,
}

impl Script {
    /// Makes the events that a test describes.
    ///
    /// # Errors
    ///
    /// An event names a call, a parameter or a value that does not exist.
    pub fn new(test: &Test) -> Result<Self, String> {
        let mut script = Self {
            events: Vec::new(),
            time_ns: START_NS,
            pids: Vec::new(),
            builder: EventBuilder::new(),
        };
        for process in &test.processes {
            script.exec(process, None, None)?;
        }
        for (at, step) in test.events.iter().enumerate() {
            script
                .step(step, at)
                .map_err(|reason| format!("event {} ({}): {reason}", at + 1, step.title()))?;
        }
        Ok(script)
    }

    fn step(&mut self, step: &Step, at: usize) -> Result<(), String> {
        match (&step.call, &step.exec) {
            (Some(name), None) => self.call(name, step, at),
            (None, Some(process)) => self.exec(process, step.pid, Some(at)),
            _ => Err("say either `call` or `exec`".to_owned()),
        }
    }

    fn header(&mut self, kind: Kind, pid: u32) -> Header {
        self.time_ns += STEP_NS;
        Header {
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

    fn finish(&mut self, step: Option<usize>) -> Result<(), String> {
        let event = self.builder.finish().map_err(|error| error.to_string())?;
        self.events.push((event.to_vec(), step));
        Ok(())
    }

    /// A process runs a program; one that is not there yet is born first.
    fn exec(
        &mut self,
        process: &Process,
        of_event: Option<u32>,
        step: Option<usize>,
    ) -> Result<(), String> {
        let next = self.pids.iter().max().map_or(FIRST_PID, |last| last + 1);
        let pid = process.pid.or(of_event).unwrap_or(next);
        let parent = process.parent.or_else(|| {
            let others = self.pids.iter().rev().copied();
            others.into_iter().find(|other| *other != pid)
        });
        if !self.pids.contains(&pid) {
            if let Some(parent) = parent {
                let mut header = self.header(Kind::Fork, parent);
                header.args = [pid.into(), pid.into(), 0, 0, 0, 0];
                self.builder.begin(&header);
                self.finish(None)?;
            }
            self.pids.push(pid);
        }
        let exe = process.exe.clone().or_else(|| process.name.clone());
        let exe = exe.ok_or("a process needs `exe` or `name`")?;
        let name = process
            .name
            .clone()
            .unwrap_or_else(|| exe.rsplit('/').next().unwrap_or_default().to_owned());
        let ids = Ids {
            ppid: parent.unwrap_or(0),
            pgid: process.pgid.unwrap_or(pid),
            sid: process.sid.unwrap_or(pid),
            loginuid: process.loginuid.unwrap_or(NO_LOGIN),
            uid: process.uid,
            euid: process.uid,
            gid: process.gid,
            egid: process.gid,
            tty: process.tty,
            memfd: process.memfd.into(),
        };
        let call = table::by_name("execve").ok_or("there is no execve")?;
        let mut header = self.header(Kind::Exec, pid);
        header.nr = call.number(Abi::X86_64).unwrap_or(0);
        header.uid = process.uid;
        header.gid = process.gid;
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

    fn call(&mut self, name: &str, step: &Step, at: usize) -> Result<(), String> {
        let call = table::by_name(name).ok_or_else(|| {
            let known = SYSCALLS.iter().map(|call| call.name);
            format!("there is no call `{name}`{}", did_you_mean(name, known))
        })?;
        let last = self.pids.last().copied();
        let pid = step.pid.or(last).unwrap_or(FIRST_PID);
        let mut header = self.header(Kind::Syscall, pid);
        header.nr = call
            .number(Abi::X86_64)
            .ok_or_else(|| format!("`{name}` is no call of x86_64"))?;
        header.ret = returned(step)?;
        let mut attached: Vec<(u8, Encoding, Vec<u8>)> = Vec::new();
        for (name, given) in &step.params {
            let (place, param) = call.param(name).ok_or_else(|| {
                let known = call.params.iter().map(|param| param.name);
                let help = did_you_mean(name, known);
                format!("`{}` has no parameter `{name}`{help}", call.name)
            })?;
            let number = match value(&param.kind, given)
                .map_err(|reason| format!("parameter `{name}`: {reason}"))?
            {
                Said::Number(number) => number,
                Said::Memory(encoding, bytes) => {
                    attached.push((u8::try_from(place).unwrap_or(0), encoding, bytes));
                    SOMEWHERE
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

    fn facts(&mut self, step: &Step) -> Result<(), String> {
        let mut ends = [None, None];
        for (name, text) in &step.facts {
            let address = || {
                let parsed: Result<SocketAddr, _> = text.parse();
                parsed.map_err(|_| format!("`{name}` is written like 192.0.2.1:443, not `{text}`"))
            };
            match name.as_str() {
                "path" => self.attach(Fact::Path as u8, Encoding::Raw, text.as_bytes()),
                "local" => ends[0] = Some(address()?),
                "remote" => ends[1] = Some(address()?),
                _ => {
                    return Err(format!(
                        "there is no fact `{name}`: say path, local or remote"
                    ));
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
                    local: wide(local.ip()),
                    remote: wide(remote.ip()),
                };
                self.attach(Fact::Tuple as u8, Encoding::Raw, tuple.as_bytes());
                Ok(())
            }
            [None, None] => Ok(()),
            _ => Err("a connection has two ends: say both `local` and `remote`".to_owned()),
        }
    }
}

/// Where nothing is said, paths are relative to the working directory.
fn default_dirfd(call: &Syscall, step: &Step, header: &mut Header) {
    for (place, param) in call.params.iter().enumerate() {
        let said = step
            .params
            .keys()
            .any(|name| param.name == name || param.aliases.contains(&name.as_str()));
        if matches!(param.kind, ParamKind::Number(Number::DirFd, _))
            && !said
            && let Some(arg) = header.args.get_mut(call.register(Abi::X86_64, place))
        {
            *arg = i64::from(libc::AT_FDCWD).cast_unsigned();
        }
    }
}

fn wide(ip: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match ip {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes = ip.octets(),
    }
    bytes
}

fn returned(step: &Step) -> Result<i64, String> {
    let Some(text) = &step.returns else {
        return Ok(0);
    };
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let errors = (1..4096).filter_map(|number| Some((number, errno::name(number)?)));
    let found = errors.clone().find(|(_, name)| name == text);
    found.map(|(number, _)| -i64::from(number)).ok_or_else(|| {
        let help = did_you_mean(text, errors.map(|(_, name)| name));
        format!("`returns` is a number or the name of an error, not `{text}`{help}")
    })
}

/// What a parameter says: a number, or memory.
enum Said {
    Number(u64),
    Memory(Encoding, Vec<u8>),
}

fn value(kind: &ParamKind, given: &Given) -> Result<Said, String> {
    let text = match (kind, given) {
        (_, Given::Missing) => return Ok(Said::Number(0)),
        (ParamKind::Strv, Given::Many(texts)) => {
            let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
            return Ok(Said::Memory(Encoding::Strings, bytes.collect()));
        }
        (_, Given::Many(_)) => return Err("one value is wanted, not a list".to_owned()),
        (_, Given::One(text)) => text,
    };
    match kind {
        ParamKind::Str
        | ParamKind::Path(_)
        | ParamKind::Buffer(Buffer::Bytes | Buffer::Iovec, _) => {
            Ok(Said::Memory(Encoding::Raw, text.as_bytes().to_vec()))
        }
        ParamKind::Buffer(Buffer::SockAddr, _) => {
            sockaddr(text).map(|bytes| Said::Memory(Encoding::Raw, bytes))
        }
        ParamKind::Flags(set, _) | ParamKind::Enum(set, _) => symbols(set, text).map(Said::Number),
        ParamKind::Number(Number::ClockId, _) => {
            let clocks = decode::symbols::set("clock");
            clocks
                .map_or_else(|| number(text), |set| symbols(set, text))
                .map(Said::Number)
        }
        ParamKind::Number(number, _)
            if matches!(number.reading(), Reading::Mode | Reading::FileType) =>
        {
            let digits = text.trim_start_matches("0o");
            u64::from_str_radix(digits, 8)
                .map(Said::Number)
                .map_err(|_| format!("`{text}` is no number in base 8"))
        }
        ParamKind::Struct(..) | ParamKind::Array(..) | ParamKind::Strv => {
            Err("this sort of parameter cannot be described; give the `fields` instead".to_owned())
        }
        _ => number(text).map(Said::Number),
    }
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text
            .parse::<i64>()
            .map(i64::cast_unsigned)
            .ok()
            .or_else(|| text.parse().ok()),
    };
    parsed.ok_or_else(|| format!("`{text}` is no number"))
}

/// Names of bits or values, joined by `|`.
fn symbols(set: &SymbolSet, text: &str) -> Result<u64, String> {
    let known = || {
        let fields = set.fields.iter().flat_map(|(_, values)| values.iter());
        fields.chain(set.values)
    };
    text.split('|').map(str::trim).try_fold(0, |sum, word| {
        if let Ok(number) = number(word) {
            return Ok(sum | number);
        }
        let found = known().find(|(_, name)| *name == word);
        found.map(|(value, _)| sum | value).ok_or_else(|| {
            let help = did_you_mean(word, known().map(|(_, name)| *name));
            format!("`{word}` is not one of {}{help}", set.name)
        })
    })
}

/// `192.0.2.1:443`, `[::1]:443`, or the path of a Unix socket.
fn sockaddr(text: &str) -> Result<Vec<u8>, String> {
    let family = |family: i32| u16::try_from(family).unwrap_or(0).to_ne_bytes();
    if text.starts_with('/') {
        let mut bytes = family(libc::AF_UNIX).to_vec();
        bytes.extend(text.bytes().chain([0]));
        return Ok(bytes);
    }
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("an address is written like 192.0.2.1:443, not `{text}`"))?;
    Ok(match address {
        SocketAddr::V4(address) => {
            let mut bytes = family(libc::AF_INET).to_vec();
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.ip().octets());
            bytes.resize(16, 0);
            bytes
        }
        SocketAddr::V6(address) => {
            let mut bytes = family(libc::AF_INET6).to_vec();
            bytes.extend(address.port().to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(address.ip().octets());
            bytes.extend([0; 4]);
            bytes
        }
    })
}
