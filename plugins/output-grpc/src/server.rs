//! Listening and serving. The listener lives as long as the output. The task that serves its connections can be replaced,
//! to use new certificates.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lanner_plugin::files::{self, FileError};
use lanner_plugin::tls::{self, Identity, TlsError};
use lanner_plugin::{Host, InvalidSetting};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::server::Router;
use tonic::transport::{Certificate, ServerTlsConfig};

use crate::Settings;
use crate::falco::{Outputs, Version};
use crate::incoming::{incoming, places};
use crate::log::Log;
use crate::own::Own;
use crate::proto::falco::outputs::service_server::ServiceServer as OutputsServer;
use crate::proto::falco::version::service_server::ServiceServer as VersionServer;
use crate::proto::own::alerts_server::AlertsServer;

/// The largest file that is read, in bytes.
const MAX_PEM: u64 = 16 << 20;
/// How long stopping waits until clients have received all alerts.
const DRAIN: Duration = Duration::from_secs(2);
/// A client that does not answer a ping for this long is disconnected.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A server, and the threads that run it.
#[derive(Debug)]
pub(crate) struct Server {
    host: Host,
    settings: Settings,
    log: Arc<Log>,
    listener: Listener,
    /// One for each connection that there may be.
    places: Arc<Semaphore>,
    /// `None` after [`Server::stop`].
    runtime: Option<Runtime>,
    serving: Option<Serving>,
}

/// The server cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    #[error("cannot start the server's threads")]
    Threads(#[source] io::Error),
    #[error("cannot look up {address}")]
    Resolve { address: String, source: io::Error },
    #[error("cannot listen at {address}")]
    Listen { address: String, source: io::Error },
    #[error("{address} exists, and is no socket", address = path.display())]
    NotASocket { path: PathBuf },
    #[error(
        "over TCP, `private_key`, `cert_chain` and `root_certs` are needed; without them, listen at a Unix socket"
    )]
    NoCertificates,
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Certificates(#[from] TlsError),
    #[error("cannot use the certificates")]
    Tls(#[source] tonic::transport::Error),
}

/// The task that accepts and serves connections.
#[derive(Debug)]
struct Serving {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Checks settings without listening.
pub(crate) fn check(settings: &Settings) -> Result<(), ServerError> {
    if let Some(path) = unix_path(settings)? {
        return check_socket(&path);
    }
    let address = &settings.bind_address;
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if !(address.rsplit_once(':')).is_some_and(|(host, port)| !host.is_empty() && is_port(port)) {
        let reason = format!(
            "{address:?} is neither unix:///PATH nor HOST:PORT with a port from 1 to 65535"
        );
        return Err(InvalidSetting::new("bind_address", reason).into());
    }
    tonic::transport::Server::builder()
        .tls_config(server_tls(settings)?)
        .map_err(ServerError::Tls)?;
    if let Ok(address) = address.parse::<SocketAddr>() {
        // A UDP socket shows whether the address is one of this host, and keeps no one from the port.
        UdpSocket::bind((address.ip(), 0)).map_err(|source| ServerError::Listen {
            address: settings.bind_address.clone(),
            source,
        })?;
    }
    Ok(())
}

/// What is worth knowing about settings that can be used.
pub(crate) fn warnings(settings: &Settings) -> Vec<String> {
    match (
        unix_path(settings),
        &settings.cert_chain,
        &settings.private_key,
    ) {
        (Ok(None), Some(chain), Some(key)) => {
            Identity::warning_of(chain, key).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Checks that there can be a socket at a path. Its folder may be missing: it is made.
fn check_socket(path: &Path) -> Result<(), ServerError> {
    // sockaddr_un(7)
    const LONGEST: usize = 107;
    if path.as_os_str().len() > LONGEST {
        let reason = format!("its path has more than {LONGEST} bytes");
        return Err(InvalidSetting::new("bind_address", reason).into());
    }
    if fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        let path = path.to_owned();
        return Err(ServerError::NotASocket { path });
    }
    match files::check_socket(path) {
        // its folder is missing
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        checked => {
            return checked.map_err(|source| ServerError::Listen {
                address: path.display().to_string(),
                source,
            });
        }
    }
    let folder = path.ancestors().skip(1).find(|folder| folder.exists());
    let unused = format!(".lanner-{}", std::process::id());
    files::check_writable(&folder.unwrap_or(Path::new("/")).join(unused))?;
    Ok(())
}

/// The path of the socket. None: the settings want TCP.
fn unix_path(settings: &Settings) -> Result<Option<PathBuf>, InvalidSetting> {
    let address = &settings.bind_address;
    let Some(path) = address.strip_prefix("unix://") else {
        return Ok(None);
    };
    if !path.starts_with('/') {
        let reason = format!("{address:?} is not unix:///PATH");
        return Err(InvalidSetting::new("bind_address", reason));
    }
    settings.socket_mode.bits("socket_mode")?;
    Ok(Some(PathBuf::from(path)))
}

impl Server {
    pub(crate) fn start(
        host: Host,
        settings: Settings,
        log: Arc<Log>,
    ) -> Result<Self, ServerError> {
        let threads = match settings.threadiness {
            0 => std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(4)),
            threads => threads,
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("lanner-grpc")
            .enable_all()
            .build()
            .map_err(ServerError::Threads)?;
        let listener = Listener::new(&settings)?;
        let mut server = Self {
            host,
            places: Arc::new(Semaphore::new(places(settings.max_clients))),
            settings,
            log,
            listener,
            runtime: Some(runtime),
            serving: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// Reads the certificates and uses them for new connections. Existing connections go on as they are.
    pub(crate) fn restart(&mut self) -> Result<(), ServerError> {
        let Some(runtime) = &self.runtime else {
            return Ok(());
        };
        let router = self.router()?;
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        // `from_std` needs the runtime.
        let entered = runtime.enter();
        let task = match &self.listener {
            Listener::Tcp(listener) => {
                let listener = listener.try_clone();
                let listener = listener.and_then(tokio::net::TcpListener::from_std);
                let listener = listener.map_err(self.listen_error())?;
                let incoming = incoming(listener, Arc::clone(&self.places), self.host);
                let serve = router.serve_with_incoming_shutdown(incoming, stopped);
                runtime.spawn(async { drop(serve.await) })
            }
            Listener::Unix(listener, _) => {
                let listener = listener.try_clone();
                let listener = listener.and_then(tokio::net::UnixListener::from_std);
                let listener = listener.map_err(self.listen_error())?;
                let incoming = incoming(listener, Arc::clone(&self.places), self.host);
                let serve = router.serve_with_incoming_shutdown(incoming, stopped);
                runtime.spawn(async { drop(serve.await) })
            }
        };
        drop(entered);
        if let Some(before) = self.serving.replace(Serving { stop, task }) {
            let _ = before.stop.send(());
        }
        Ok(())
    }

    fn listen_error(&self) -> impl FnOnce(io::Error) -> ServerError {
        let address = self.settings.bind_address.clone();
        |source| ServerError::Listen { address, source }
    }

    fn router(&self) -> Result<Router, ServerError> {
        let mut builder = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE));
        if let Listener::Tcp(_) = self.listener {
            builder = builder
                .tls_config(server_tls(&self.settings)?)
                .map_err(ServerError::Tls)?;
        }
        let log = || Arc::clone(&self.log);
        Ok(builder
            .add_service(OutputsServer::new(Outputs(log())))
            .add_service(VersionServer::new(Version))
            .add_service(AlertsServer::new(Own(log()))))
    }

    /// Waits for a while until clients have received all alerts, and then stops.
    pub(crate) fn stop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        if let Some(serving) = self.serving.take() {
            let _ = serving.stop.send(());
            runtime.block_on(async { drop(tokio::time::timeout(DRAIN, serving.task).await) });
        }
        runtime.shutdown_background();
        if let Listener::Unix(_, path) = &self.listener {
            let _ = fs::remove_file(path);
        }
    }

    /// The TCP port. With port 0 in the settings, the kernel chooses it.
    #[cfg(test)]
    pub(crate) fn port(&self) -> u16 {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().unwrap().port(),
            Listener::Unix(..) => 0,
        }
    }
}

impl Listener {
    fn new(settings: &Settings) -> Result<Self, ServerError> {
        let address = &settings.bind_address;
        let listen_error = |source| ServerError::Listen {
            address: address.clone(),
            source,
        };
        if let Some(path) = unix_path(settings)? {
            let mode = settings.socket_mode.bits("socket_mode")?;
            let listener = listen_unix(&path, mode).map_err(listen_error)?;
            return Ok(Self::Unix(listener, path));
        }
        // Reports wrong certificates before the port is in use.
        server_tls(settings)?;
        let addresses = address.to_socket_addrs().map_err(|source| {
            let address = address.clone();
            ServerError::Resolve { address, source }
        })?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let listener = TcpListener::bind(&addresses[..]).map_err(listen_error)?;
        listener.set_nonblocking(true).map_err(listen_error)?;
        Ok(Self::Tcp(listener))
    }
}

/// Listens at a path. Replaces a socket whose listener is gone.
fn listen_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let listener = match (files::listen(path, mode), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            files::make_folder(folder, 0o777)?;
            files::listen(path, mode)?
        }
        (listener, _) => listener?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn server_tls(settings: &Settings) -> Result<ServerTlsConfig, ServerError> {
    let (Some(key), Some(chain), Some(roots)) = (
        &settings.private_key,
        &settings.cert_chain,
        &settings.root_certs,
    ) else {
        return Err(ServerError::NoCertificates);
    };
    // tonic's own errors name no file
    Identity::read(chain, key)?;
    tls::roots(roots)?;
    let read = |file: &Path| files::read(file, MAX_PEM);
    Ok(ServerTlsConfig::new()
        .identity(tonic::transport::Identity::from_pem(
            read(chain)?,
            read(key)?,
        ))
        .client_ca_root(Certificate::from_pem(read(roots)?))
        .timeout(Duration::from_secs(10)))
}
