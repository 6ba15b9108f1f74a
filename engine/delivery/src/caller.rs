//! The thread that calls a plugin. A call may hang forever, and a thread cannot be killed. So this thread does nothing else,
//! and a thread that waits for it can stop waiting.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use plugin_host::{Alert, OutputHost};

use super::mailbox::{Mailbox, Outcome};

/// A call.
#[derive(Debug)]
pub(super) enum Job {
    Emit(Vec<Arc<Alert>>),
    Flush,
    Reopen,
}

/// The plugin of an output, and what it is doing.
#[derive(Debug)]
pub(super) struct Caller {
    jobs: Option<Sender<Job>>,
    /// Since when it is busy.
    pub(super) busy: Option<Instant>,
}

impl Caller {
    pub(super) fn start(
        name: &str,
        host: OutputHost,
        mailbox: Arc<Mailbox>,
    ) -> std::io::Result<Self> {
        let (jobs, work) = channel();
        std::thread::Builder::new()
            .name(thread_name("call", name))
            .spawn(move || {
                run(host, &work, &mailbox);
                mailbox.close();
            })?;
        Ok(Self {
            jobs: Some(jobs),
            busy: None,
        })
    }

    /// Starts a call; its outcome comes to the mailbox.
    pub(super) fn begin(&mut self, job: Job, now: Instant) {
        if let Some(jobs) = &self.jobs
            && jobs.send(job).is_ok()
        {
            self.busy = Some(now);
        }
    }

    /// Makes the thread end after its current call.
    pub(super) fn end(&mut self) {
        self.jobs = None;
    }
}

fn run(mut host: OutputHost, jobs: &Receiver<Job>, mailbox: &Mailbox) {
    for job in jobs {
        mailbox.tell(match job {
            Job::Emit(alerts) => {
                let delivery = host.emit(&alerts);
                Outcome::Emitted(delivery, host.off().is_some())
            }
            Job::Flush => Outcome::Flushed(host.flush()),
            Job::Reopen => Outcome::Reopened(host.reopen()),
        });
    }
}

/// The kernel keeps 15 bytes of a thread's name.
pub(super) fn thread_name(does: &str, output: &str) -> String {
    let output = output.strip_prefix("output-").unwrap_or(output);
    let name: String = format!("{does}-{output}")
        .chars()
        .filter(|c| *c != '\0')
        .collect();
    let end = (0..=name.len().min(15))
        .rev()
        .find(|at| name.is_char_boundary(*at));
    name[..end.unwrap_or(0)].to_owned()
}
