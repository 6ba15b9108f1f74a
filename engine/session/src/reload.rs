//! Reloads: a thread notices changed files and requests, loads configuration and rules again, and hands them to the event
//! path, which takes them between two polls. If anything cannot be used, an alert says so, and the old rules go on.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use driver_api::error::Chain;
use driver_api::request::Omit;
use lanner_plugin::files;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::config::Loaded;
use crate::control::Notice;
use crate::error::ReloadError;
use crate::rule_loader::{RuleLoader, RuleSet};
use crate::session::Shared;
use crate::telemetry::losses::{RELOAD_FAILED, empty_rules, rules_gone};
use crate::telemetry::{now_ns, service};
use delivery::PATIENCE;
use delivery::alert::AlertFormat;
use plugin_host::{OwnedValue, Priority, secrets};

/// How long the thread waits, in milliseconds, before it looks for requests again.
const TICK: u16 = 100;
/// A reload begins when files have not changed for this long, because editors and tools write in several steps.
const QUIET: Duration = Duration::from_millis(200);

/// More bytes of a file are not looked at: a file that large is refused.
const MAX_HASHED: u64 = 64 << 20;

/// Passes loaded rules from the reload thread to the event path.
#[derive(Debug)]
pub(super) struct Handover {
    waiting: AtomicBool,
    next: Mutex<Option<Box<RuleSet>>>,
    answer: Mutex<Sender<Result<(), ReloadError>>>,
    discarded: Mutex<Sender<Box<RuleSet>>>,
}

impl Handover {
    /// The rules that wait, if any. Without any, this costs one atomic load.
    #[inline]
    pub(super) fn take(&self) -> Option<Box<RuleSet>> {
        if !self.waiting.load(Ordering::Relaxed) {
            return None;
        }
        self.waiting.store(false, Ordering::Relaxed);
        self.next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Reports to the reload thread whether the event path took the rules.
    pub(super) fn answer(&self, result: Result<(), ReloadError>) {
        // at the end of the session, no thread receives it
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        drop(answer.send(result));
    }

    /// Lets the reload thread drop rules that are not needed any more.
    pub(super) fn discard(&self, old: Box<RuleSet>) {
        let discarded = self
            .discarded
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        drop(discarded.send(old));
    }

    fn give(&self, next: Box<RuleSet>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
        self.waiting.store(true, Ordering::Release);
    }
}

/// The thread. Dropping this ends it.
#[derive(Debug)]
pub(super) struct ReloadThread {
    end: Arc<AtomicBool>,
    /// Closed to wake the thread.
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for ReloadThread {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        self.wake = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        // the thread may be in a plugin that hangs
        let until = Instant::now() + PATIENCE;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            drop(thread.join());
        }
    }
}

/// What the reload thread works with.
#[derive(Debug)]
pub(super) struct Reloader {
    loader: Arc<RuleLoader>,
    loaded: Loaded,
    first: Option<Box<RuleSet>>,
    /// Rule files without rules, since the last reload.
    empty: Vec<String>,
    /// All rule files, and whether each has rules.
    has_rules: Vec<(String, bool)>,
    format: AlertFormat,
    /// The driver holds processes and omits some calls. It cannot capture them later in this session.
    omits: bool,
    shared: Shared,
}

impl Reloader {
    pub(super) fn new(
        loader: Arc<RuleLoader>,
        loaded: &Loaded,
        first: RuleSet,
        omits: bool,
        shared: Shared,
    ) -> Self {
        Self {
            format: loader.format(&loaded.config),
            loader,
            loaded: loaded.clone(),
            empty: first.empty.clone(),
            has_rules: first.has_rules.clone(),
            first: Some(Box::new(first)),
            omits,
            shared,
        }
    }

    pub(super) fn format(&self) -> AlertFormat {
        self.format.clone()
    }

    /// Starts the thread, and returns what the event path begins with.
    pub(super) fn start(mut self) -> std::io::Result<(Box<RuleSet>, Arc<Handover>, ReloadThread)> {
        let Some(first) = self.first.take() else {
            return Err(std::io::Error::other(
                "the reload thread was started before",
            ));
        };
        let (answer, answers) = channel();
        let (discarded, dead) = channel();
        let handover = Arc::new(Handover {
            waiting: AtomicBool::new(false),
            next: Mutex::new(None),
            answer: Mutex::new(answer),
            discarded: Mutex::new(discarded),
        });
        let (wake, woken) = UnixStream::pair()?;
        let mut watched = Watched {
            woken,
            inotify: None,
            files: Vec::new(),
            content: BTreeMap::new(),
        };
        if self.loaded.config.watch_config_files {
            watched.set(&first.files);
        }
        let end = Arc::new(AtomicBool::new(false));
        let (hand, ends) = (Arc::clone(&handover), Arc::clone(&end));
        let thread = std::thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || self.watch(&mut watched, &hand, &answers, &dead, &ends))?;
        let thread = ReloadThread {
            end,
            wake: Some(wake),
            thread: Some(thread),
        };
        Ok((first, handover, thread))
    }

    fn watch(
        &mut self,
        watched: &mut Watched,
        handover: &Handover,
        answers: &Receiver<Result<(), ReloadError>>,
        dead: &Receiver<Box<RuleSet>>,
        end: &AtomicBool,
    ) {
        let mut due: Option<Instant> = None;
        while !end.load(Ordering::Relaxed) {
            if watched.wait() {
                due = Some(Instant::now() + QUIET);
            }
            drop(dead.try_iter().collect::<Vec<_>>());
            if self.shared.control.take_reopen() {
                tracing::info!("outputs are opened again");
                self.shared.outputs.reopen();
            }
            let asked = self.shared.control.take_reload();
            let changed = due.is_some_and(|due| Instant::now() >= due);
            if changed {
                due = None;
            }
            if asked || (changed && watched.differs()) {
                self.reload(watched, handover, answers, end);
                // notices files that changed in the meantime
                due = Some(Instant::now() + QUIET);
            }
        }
    }

    fn reload(
        &mut self,
        watched: &mut Watched,
        handover: &Handover,
        answers: &Receiver<Result<(), ReloadError>>,
        end: &AtomicBool,
    ) {
        service::reloading();
        let result = self.try_reload(watched, handover, answers, end);
        self.shared.telemetry.reloaded(result.is_ok());
        match result {
            Ok(()) => {
                tracing::warn!("rules and configuration are reloaded");
                service::ready("watching");
            }
            Err(error) => {
                let reason = secrets::hide(&Chain(&error).to_string()).into_owned();
                tracing::error!("the reload failed, and what ran before runs on: {reason}");
                service::ready("watching; the last reload failed");
                self.shared.outputs.push(self.format.internal(
                    now_ns(),
                    RELOAD_FAILED,
                    Priority::Critical,
                    &format!("{RELOAD_FAILED}: {reason}"),
                    vec![("reason".to_owned(), OwnedValue::String(reason.into_bytes()))],
                ));
            }
        }
    }

    fn try_reload(
        &mut self,
        watched: &mut Watched,
        handover: &Handover,
        answers: &Receiver<Result<(), ReloadError>>,
        end: &AtomicBool,
    ) -> Result<(), ReloadError> {
        watched.remember();
        let loaded = self.loader.configuration()?;
        let had_keys =
            |file: &&PathBuf| self.loaded.files.contains(file) && !self.loaded.blank.contains(file);
        if let Some(file) = loaded.blank.iter().find(had_keys) {
            return Err(ReloadError::Emptied(file.clone()));
        }
        // new outputs are opened before anything changes, so that a faulty one fails the reload
        let (wanted, board) = (loaded.clone(), self.shared.telemetry.board());
        let running = self.shared.outputs.identities();
        let (prepared, planned) = self.loader.within(&loaded.config, move |loader| {
            let prepared = loader.load(&wanted, Some(&board))?;
            Ok((prepared, loader.outputs(&wanted.config, &running)?))
        })?;
        if self.omits && prepared.omit == Omit::NOTHING {
            return Err(ReloadError::Omitted);
        }
        let (files, empty) = (prepared.files.clone(), prepared.empty.clone());
        let has_rules = prepared.has_rules.clone();
        handover.give(Box::new(prepared));
        loop {
            match answers.recv_timeout(Duration::from_millis(100)) {
                Ok(answer) => break answer?,
                Err(_) if end.load(Ordering::Relaxed) => return Err(ReloadError::Ending),
                Err(_) => {}
            }
        }
        let (gone, errors) = self.shared.outputs.replace(planned);
        for account in &gone {
            self.shared
                .control
                .observer()
                .notice(&Notice::Output(account));
        }
        let level = loaded.config.log_level;
        if let Some(level) = level.filter(|_| level != self.loaded.config.log_level) {
            self.shared.control.observer().log_level(level);
        }
        watched.set(if loaded.config.watch_config_files {
            &files
        } else {
            &[]
        });
        self.format = self.loader.format(&loaded.config);
        self.loaded = loaded;
        for file in empty.iter().filter(|file| !self.empty.contains(file)) {
            self.shared.outputs.push(empty_rules(&self.format, file));
        }
        let had_rules = |file: &String| self.has_rules.contains(&(file.clone(), true));
        for (file, _) in (has_rules.iter())
            .filter(|(file, any)| !any && had_rules(file) && !empty.contains(file))
        {
            tracing::warn!("{file} has no rules any more, only lists and macros");
            self.shared.outputs.push(rules_gone(&self.format, file));
        }
        self.empty = empty;
        self.has_rules = has_rules;
        if errors.is_empty() {
            Ok(())
        } else {
            Err(ReloadError::Outputs(errors))
        }
    }
}

/// Watched files. The folders are watched, not the files, to notice a file that replaces another one of the same name, and
/// a changed link in a path.
#[derive(Debug)]
struct Watched {
    /// Readable when the thread has to end.
    woken: UnixStream,
    inotify: Option<Inotify>,
    files: Vec<PathBuf>,
    /// Hashes of the contents when they were last read.
    content: BTreeMap<PathBuf, u64>,
}

impl Watched {
    /// Watches these files. If a file that was watched before has changed since [`Watched::remember`], that is noticed.
    fn set(&mut self, files: &[PathBuf]) {
        self.files = files.to_vec();
        let mut content = self.hashes();
        for (file, hash) in &mut content {
            *hash = self.content.get(file).copied().unwrap_or(*hash);
        }
        self.content = content;
        self.inotify = None;
        if files.is_empty() {
            return;
        }
        let inotify = match Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC) {
            Ok(inotify) => inotify,
            Err(error) => {
                tracing::warn!("changes of files will not be noticed (SIGHUP reloads): {error}");
                return;
            }
        };
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB;
        for folder in self.folders() {
            if let Err(error) = inotify.add_watch(&folder, flags) {
                tracing::warn!(
                    "changes in {} will not be noticed: {error}",
                    folder.display()
                );
            }
        }
        self.inotify = Some(inotify);
    }

    /// The folders of the files and of the files they link to, and the folders that were named.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let mut folders = BTreeSet::new();
        for file in &self.files {
            if file.is_dir() {
                folders.insert(file.clone());
            }
            for path in [Some(file.clone()), file.canonicalize().ok()]
                .into_iter()
                .flatten()
            {
                let parent = match path.parent() {
                    Some(parent) if parent != Path::new("") => parent,
                    _ => Path::new("."),
                };
                folders.insert(parent.to_owned());
            }
        }
        folders
    }

    /// Waits up to [`TICK`] for a change. Returns whether there was one.
    fn wait(&self) -> bool {
        let mut fds = vec![PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
        if let Some(inotify) = &self.inotify {
            fds.push(PollFd::new(inotify.as_fd(), PollFlags::POLLIN));
        }
        if !poll(&mut fds, PollTimeout::from(TICK)).is_ok_and(|ready| ready > 0) {
            return false;
        }
        let Some(inotify) = &self.inotify else {
            return false;
        };
        // which file changed does not matter, because contents are compared
        let mut any = false;
        while inotify.read_events().is_ok_and(|events| !events.is_empty()) {
            any = true;
        }
        any
    }

    /// Notes the present contents.
    fn remember(&mut self) {
        self.content = self.hashes();
    }

    /// Whether the contents differ from those that were last read.
    fn differs(&self) -> bool {
        self.hashes() != self.content
    }

    fn hashes(&self) -> BTreeMap<PathBuf, u64> {
        self.files
            .iter()
            .map(|file| (file.clone(), hash(file)))
            .collect()
    }
}

/// The hash of a file's contents, or of the names in a folder.
fn hash(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    if file.is_dir() {
        let names = std::fs::read_dir(file).into_iter().flatten().flatten();
        let mut names: Vec<_> = names.map(|entry| entry.path()).collect();
        names.sort();
        names.hash(&mut hasher);
    } else {
        let bytes = files::open_untrusted(file)
            .and_then(|opened| files::read_opened(opened, file, MAX_HASHED));
        bytes.ok().hash(&mut hasher);
    }
    hasher.finish()
}
