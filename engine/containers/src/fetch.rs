//! The thread that asks runtimes about containers. A slow, dead or hostile runtime costs at most an answer, never an
//! event.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use inspect::{Container, ContainerSource, Metadata, Runtime};

use super::{Answer, Runtimes, cri, docker, files};

/// Pauses before each attempt, since a runtime may not know a container yet: about two seconds in all.
const PAUSES_MS: [u64; 9] = [0, 10, 20, 40, 80, 160, 320, 640, 1000];
/// The longest time for one request.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most containers that are asked about at the same time.
const AT_ONCE: usize = 16;

/// A container, and the user who runs it, unless that is root.
type Question = (Arc<Container>, Option<u32>);

/// Asks the runtimes of a host about containers.
#[derive(Debug)]
pub struct Fetcher {
    runtimes: Runtimes,
    /// Questions to the thread, which starts with the first container.
    queue: OnceLock<UnboundedSender<Question>>,
}

impl Fetcher {
    /// Asks these runtimes. The thread starts with the first container.
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
        Err(error) => tracing::warn!(
            "no information about containers: cannot start the async runtime: {error}"
        ),
    };
    let thread = std::thread::Builder::new().name("containers".to_owned());
    if let Err(error) = thread.spawn(work) {
        tracing::warn!("no information about containers: cannot start a thread: {error}");
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

/// Where to ask about a container.
enum Endpoint {
    Docker(PathBuf),
    Cri(PathBuf),
    Files,
}

/// Where a container of a runtime may be known, in the order of asking.
fn endpoints(runtimes: &Runtimes, runtime: Runtime, owner: Option<u32>) -> Vec<Endpoint> {
    let docker = |paths: &[PathBuf]| paths.iter().cloned().map(Endpoint::Docker).collect();
    let cri = |paths: &[PathBuf]| paths.iter().cloned().map(Endpoint::Cri).collect();
    let mut endpoints: Vec<Endpoint> = match runtime {
        Runtime::Docker => docker(&runtimes.docker),
        Runtime::Podman => docker(&runtimes.podman),
        Runtime::Crio => cri(&runtimes.crio),
        // an id without a prefix may be Docker's or containerd's
        Runtime::Containerd | Runtime::Lxc | Runtime::LibvirtLxc | Runtime::Nspawn => {
            let mut both: Vec<Endpoint> = cri(&runtimes.containerd);
            both.extend(docker(&runtimes.docker));
            both
        }
    };
    let rootless = owner.and_then(|uid| match runtime {
        Runtime::Docker => Some(format!("/run/user/{uid}/docker.sock")),
        Runtime::Podman => Some(format!("/run/user/{uid}/podman/podman.sock")),
        Runtime::Containerd
        | Runtime::Crio
        | Runtime::Lxc
        | Runtime::LibvirtLxc
        | Runtime::Nspawn => None,
    });
    if let Some(socket) = rootless {
        endpoints.insert(0, Endpoint::Docker(socket.into()));
    }
    endpoints.push(Endpoint::Files);
    endpoints
}

async fn find(
    runtimes: &Runtimes,
    turns: &tokio::sync::Semaphore,
    container: &Container,
    owner: Option<u32>,
) -> Option<Metadata> {
    let endpoints = endpoints(runtimes, container.runtime, owner);
    for pause in PAUSES_MS {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let _turn = turns.acquire().await.ok()?;
        for endpoint in &endpoints {
            let question = async {
                match endpoint {
                    Endpoint::Docker(socket) => docker::ask(socket, &container.id).await,
                    Endpoint::Cri(socket) => cri::ask(socket, &container.id).await,
                    Endpoint::Files => files::ask(runtimes, &container.id),
                }
            };
            if let Ok(Answer::Found(metadata)) = tokio::time::timeout(PATIENCE, question).await {
                return Some(*metadata);
            }
        }
    }
    None
}
