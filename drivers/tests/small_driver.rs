//! A whole driver, as small as one can be: a model for a new one. It sees a command's exec and its end, and leaves all calls
//! out. A real driver is a crate `driver-NAME` with these parts; CONTRIBUTING.md lists what else knows it.

use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CaptureError, CommandState, Driver, Flow, Opened, Polled};
use driver_api::error::OpenError;
use driver_api::event::{
    Abi, Encoding, Event, EventBuilder, EventKind, Fact, Header, Part, Status,
};
use driver_api::host::Host;
use driver_api::request::{Command, Limits, Request, Target};
use driver_api::selection::Selection;
use driver_api::stats::Stats;
use driver_api::support::{FilterStage, Gap, Serves, Support, Tested};
use driver_start::{Held, monotonic_ns};

const NAME: &str = "waiting";

#[derive(Debug)]
struct Waiting;

// lanner finds every driver that is linked in
driver_api::register!(Waiting);

impl Driver for Waiting {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "waits for the end of a command"
    }

    fn preference(&self) -> u32 {
        u32::MAX
    }

    /// It delivers no calls, so that there is nothing to test.
    fn tested(&self) -> Tested {
        Tested {
            arguments: FilterStage::Nowhere,
            result: FilterStage::Nowhere,
        }
    }

    fn serves(&self) -> Serves {
        Serves {
            host: false,
            command: true,
            pids: false,
        }
    }

    /// A pure function of the host: a real driver looks at `host` here.
    fn probe(&self, _host: &Host) -> Support {
        Support::Usable(vec![Gap::new(
            "calls, births, and facts of an exec other than its file",
            "wait(2) reports the end of a process and nothing else",
            "use another driver",
        )])
    }

    fn open(&self, host: &Host, request: &Request) -> Result<Opened, OpenError> {
        if let Support::Unusable(gaps) = self.probe(host) {
            return Err(OpenError::Unusable { driver: NAME, gaps });
        }
        let Target::Command(command) = &request.target else {
            return Err(OpenError::Unsupported {
                driver: NAME,
                what: "this target".to_owned(),
                why: "it can only start a command".to_owned(),
            });
        };
        Ok(Opened {
            capture: Box::new(Running {
                command: Held::new(command).map_err(OpenError::target)?,
                next: Next::Exec,
                builder: EventBuilder::new(),
                stats: Stats::default(),
            }),
            gaps: Vec::new(),
        })
    }
}

/// The event that comes next.
#[derive(Debug, Clone, Copy)]
enum Next {
    Exec,
    Exit,
    Nothing,
}

#[derive(Debug)]
struct Running {
    command: Held,
    next: Next,
    builder: EventBuilder,
    stats: Stats,
}

impl Running {
    /// The start of an event of now.
    fn begin(&mut self, kind: EventKind, ret: i64) {
        let pid = self.command.pid();
        self.builder.begin(&Header {
            kind: kind as u8,
            abi: Abi::NATIVE as u8,
            time_ns: monotonic_ns(),
            tgid: pid,
            tid: pid,
            ret,
            ..Header::default()
        });
    }

    /// What the kernel says the program is.
    fn attach_exe(&mut self) {
        let link = format!("/proc/{}/exe", self.command.pid());
        let Ok(exe) = std::fs::read_link(link) else {
            return;
        };
        let bytes = exe.as_os_str().as_bytes();
        let (what, full) = (Fact::Exe as u8, bytes.len() as u64);
        (self.builder).attach(what, Part::None, Status::Whole, Encoding::Raw, full, bytes);
    }
}

impl Capture for Running {
    fn poll(
        &mut self,
        timeout: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.next {
                // clause 5: the command runs from the first poll on
                Next::Exec => {
                    let started = self.command.release();
                    started.map_err(CaptureError::failed(NAME, "start the command"))?;
                    self.next = Next::Exit;
                    self.begin(EventKind::Exec, 0);
                    self.attach_exe();
                    break;
                }
                Next::Exit => {
                    if let Some(status) = self.command.status() {
                        self.next = Next::Nothing;
                        self.begin(EventKind::Exit, status.into());
                        break;
                    }
                    if Instant::now() >= deadline {
                        return Ok(Polled::Events(0));
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                // clause 18: at this poll and at every later one
                Next::Nothing => return Ok(Polled::Ended(self.command.status())),
            }
        }
        let event = self.builder.finish();
        sink(event.map_err(CaptureError::failed(NAME, "make an event"))?);
        self.stats.captured += 1;
        Ok(Polled::Events(1))
    }

    fn command(&mut self) -> Option<CommandState> {
        (!self.command.held()).then(|| CommandState {
            pid: self.command.pid(),
            status: self.command.status(),
        })
    }

    fn select(&mut self, _selection: &Selection) -> Result<(), CaptureError> {
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.stats
    }
}

#[test]
fn a_registered_driver_is_found_by_name_and_delivers_the_life_of_a_command() {
    let last = drivers::registered().pop().unwrap();
    assert_eq!(last.name(), NAME);
    let request = Request {
        target: Target::Command(Command {
            program: "/bin/sleep".into(),
            args: ["sleep", "600"].map(Into::into).to_vec(),
        }),
        selection: Selection::default(),
        limits: Limits::default(),
        buffer: 1 << 20,
    };
    let chosen = drivers::open(NAME, &drivers::host::detect(), &request).unwrap();
    let mut capture = chosen.opened.capture;
    assert_eq!(capture.command(), None, "it has not been started");
    let mut seen = Vec::new();
    let status = loop {
        let polled = capture.poll(Duration::from_secs(1), &mut |event| {
            seen.push((event.kind(), event.fact(Fact::Exe).is_some()));
            if event.kind() == EventKind::Exec {
                let pid = event.header().tgid.cast_signed();
                // SAFETY: it takes numbers. The command sleeps, so that the id is its own.
                assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
            }
            Flow::Continue
        });
        if let Polled::Ended(status) = polled.unwrap() {
            break status;
        }
    };
    assert_eq!(seen, [(EventKind::Exec, true), (EventKind::Exit, false)]);
    assert_eq!(status, Some(libc::SIGTERM), "as wait(2) says it");
    assert_eq!(capture.stats().captured, 2);
    let host = Request {
        target: Target::Host,
        ..request
    };
    let refused = drivers::open(NAME, &drivers::host::detect(), &host);
    assert!(refused.is_err(), "it captures no host");
}
