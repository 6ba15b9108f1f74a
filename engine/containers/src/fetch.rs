//! The thread that asks runtimes about containers. A runtime that is slow, dead or hostile costs an answer, never an
//! event.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use inspect::{Container, ContainerSource, Metadata, Runtime};

use super::{Answer, Runtimes, cri, docker, files};

/// Pauses before each question about a container that its runtime does not know yet: a good two seconds in all.
const PAUSES_MS: [u64; 9] = [0, 10, 20, 40, 80, 160, 320, 640, 1000];
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions at a time.
const AT_ONCE: usize = 16;

/// A container, and the user whose it is, if it is not root's.
type Question = (Arc<Container>, Option<u32>);

/// Asks the runtimes of a host about containers.
#[derive(Debug)]
pub struct Fetcher {
    runtimes: Runtimes,
    /// Of the thread that asks, which starts with the first container.
    queue: OnceLock<UnboundedSender<Question>>,
}

impl Fetcher {
    /// Asks these runtimes, from the first container on.
    #[must_use]
    pub fn new(runtimes: Runtimes) -> Self {
        Self {
            runtimes,
            queue: OnceLock::new(),
        }
    }
}

impl ContainerSource for Fetcher {
    fn ask(&self, container: &Arc<Container>, owner: Option<u32>) {
        let queue = self.queue.get_or_init(|| start(self.runtimes.clone()));
        if queue.send((container.clone(), owner)).is_err() {
            container.answer(None);
        }
    }
}

/// Starts the thread. It ends when the last sender is gone.
fn start(runtimes: Runtimes) -> UnboundedSender<Question> {
    let (sender, questions) = mpsc::unbounded_channel();
    let work = move || match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(work(runtimes, questions)),
        Err(error) => tracing::warn!("containers are not asked about: {error}"),
    };
    let thread = std::thread::Builder::new().name("containers".to_owned());
    if let Err(error) = thread.spawn(work) {
        tracing::warn!("containers are not asked about: no thread: {error}");
    }
    sender
}

async fn work(runtimes: Runtimes, mut questions: UnboundedReceiver<Question>) {
    let runtimes = Arc::new(runtimes);
    let turns = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    while let Some((container, owner)) = questions.recv().await {
        let (runtimes, turns) = (runtimes.clone(), turns.clone());
        tokio::spawn(async move {
            let answer = find(&runtimes, &turns, &container, owner).await;
            if answer.is_none() {
                tracing::debug!(
                    "no runtime knows the container {} of {}",
                    container.short_id(),
                    container.runtime.name()
                );
            }
            container.answer(answer);
        });
    }
}

/// Somebody to be asked.
enum Source {
    Docker(PathBuf),
    Cri(PathBuf),
    Files,
}

/// Who may know a container of a runtime, best first.
fn sources(runtimes: &Runtimes, runtime: Runtime, owner: Option<u32>) -> Vec<Source> {
    let docker = |paths: &[PathBuf]| paths.iter().cloned().map(Source::Docker).collect();
    let cri = |paths: &[PathBuf]| paths.iter().cloned().map(Source::Cri).collect();
    let mut sources: Vec<Source> = match runtime {
        Runtime::Docker => docker(&runtimes.docker),
        Runtime::Podman => docker(&runtimes.podman),
        Runtime::Crio => cri(&runtimes.crio),
        // a bare id is Docker's as well as containerd's
        _ => {
            let mut both: Vec<Source> = cri(&runtimes.containerd);
            both.extend(docker(&runtimes.docker));
            both
        }
    };
    let rootless = match (owner, runtime) {
        (Some(uid), Runtime::Docker) => Some(format!("/run/user/{uid}/docker.sock")),
        (Some(uid), Runtime::Podman) => Some(format!("/run/user/{uid}/podman/podman.sock")),
        _ => None,
    };
    if let Some(socket) = rootless {
        sources.insert(0, Source::Docker(socket.into()));
    }
    sources.push(Source::Files);
    sources
}

async fn find(
    runtimes: &Runtimes,
    turns: &tokio::sync::Semaphore,
    container: &Container,
    owner: Option<u32>,
) -> Option<Metadata> {
    let sources = sources(runtimes, container.runtime, owner);
    for pause in PAUSES_MS {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let _turn = turns.acquire().await.ok()?;
        for source in &sources {
            let question = async {
                match source {
                    Source::Docker(socket) => docker::ask(socket, &container.id).await,
                    Source::Cri(socket) => cri::ask(socket, &container.id).await,
                    Source::Files => files::ask(runtimes, &container.id),
                }
            };
            if let Ok(Answer::Found(metadata)) = tokio::time::timeout(PATIENCE, question).await {
                return Some(*metadata);
            }
        }
    }
    None
}
