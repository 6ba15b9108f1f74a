//! The main loop: polls a capture and feeds its events to a consumer, until the target ends, the time is over, or the user
//! asks for the end.

use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CaptureError, CommandState, Flow, Polled};
use driver_api::event::{Event, EventBuilder, EventKind, Header, Loss};

use crate::control::Control;
use crate::source::OpenedSource;

/// How long a poll may wait before the loop looks at requests and the clock.
const TICK: Duration = Duration::from_millis(100);

/// For how long, at the end, the loop still takes events that were captured before. Those that still wait then are counted
/// as lost.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// For how long those events are counted. The bytes that are left then are reported.
const COUNTING: Duration = Duration::from_millis(500);

/// What consumes the events of a session.
pub trait Consumer {
    /// An event. `Flow::Stop` ends the session.
    fn event(&mut self, event: &Event<'_>) -> Flow;

    /// Called after each poll, to write what was held back. `Flow::Stop` ends the session.
    fn idle(&mut self) -> Flow;

    /// Called between two polls: the selection can be changed here.
    fn between(&mut self, _capture: &mut dyn Capture) {}
}

/// The result of one poll.
struct Round {
    polled: Polled,
    /// The consumer wants no more.
    stopped: bool,
    /// The wait status of the command, once it has ended.
    status: Option<i32>,
}

/// Feeds the events of a source to a consumer. Returns the wait status of the watched command, if there was one and it
/// ended.
///
/// # Errors
///
/// The capture cannot go on.
pub fn watch(
    source: &mut OpenedSource,
    consumer: &mut impl Consumer,
    control: &Control,
) -> Result<Option<i32>, CaptureError> {
    let deadline = source.duration.map(|duration| Instant::now() + duration);
    // a container ends with its first process, and that process has to end with the command
    let is_first = std::process::id() == 1;
    loop {
        let wait = deadline.map_or(TICK, |end| {
            TICK.min(end.saturating_duration_since(Instant::now()))
        });
        let round = poll(source, consumer, control, wait)?;
        if round.stopped {
            return Ok(None);
        }
        if let Polled::Ended(status) = round.polled {
            return Ok(status);
        }
        let over = control.is_asked_to_end() || (is_first && round.status.is_some());
        if over || deadline.is_some_and(|end| Instant::now() >= end) {
            if source.is_live() {
                take_rest(source, consumer, control)?;
            }
            return Ok(round.status);
        }
    }
}

/// Takes the events that were captured up to now.
fn take_rest(
    source: &mut OpenedSource,
    consumer: &mut impl Consumer,
    control: &Control,
) -> Result<(), CaptureError> {
    let last = Instant::now() + LAST_LOOK;
    while Instant::now() < last {
        let round = poll(source, consumer, control, Duration::ZERO)?;
        if round.stopped || !matches!(round.polled, Polled::Events(1..)) {
            return Ok(());
        }
    }
    count_rest(source, consumer)
}

/// Counts the events that still wait as lost: the consumer was too slow for them.
fn count_rest(source: &mut OpenedSource, consumer: &mut impl Consumer) -> Result<(), CaptureError> {
    let last = Instant::now() + COUNTING;
    let mut unseen = Header {
        kind: EventKind::Lost as u8,
        ..Header::default()
    };
    unseen.args[1] = Loss::BufferFull as u64;
    let mut some = true;
    while some && Instant::now() < last {
        let polled = source.capture.poll(Duration::ZERO, &mut |event| {
            if event.kind() == EventKind::Lost {
                return consumer.event(&event);
            }
            unseen.args[0] += 1;
            unseen.time_ns = event.header().time_ns;
            Flow::Continue
        })?;
        some = matches!(polled, Polled::Events(1..));
    }
    source.unseen = unseen.args[0];
    if source.unseen > 0 {
        let mut builder = EventBuilder::new();
        builder.begin(&unseen);
        if let Ok(event) = builder.finish() {
            consumer.event(&event);
            consumer.idle();
        }
    }
    if some {
        let pending = source.stats().pending;
        tracing::warn!("the session ends before {pending} bytes of captured events were counted");
    }
    Ok(())
}

fn poll(
    source: &mut OpenedSource,
    consumer: &mut impl Consumer,
    control: &Control,
    wait: Duration,
) -> Result<Round, CaptureError> {
    let capture = source.capture.as_mut();
    let mut flow = Flow::Continue;
    let polled = capture.poll(wait, &mut |event| {
        flow = consumer.event(&event);
        flow
    })?;
    let stopped = consumer.idle() == Flow::Stop || flow == Flow::Stop;
    consumer.between(capture);
    let command = capture.command();
    match command {
        Some(CommandState {
            status: Some(_), ..
        }) => control.observer().command_ended(),
        Some(CommandState { pid, .. }) => control.observer().command_began(pid),
        None => {}
    }
    Ok(Round {
        polled,
        stopped,
        status: command.and_then(|command| command.status),
    })
}
