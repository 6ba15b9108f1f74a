//! Listening. The listener lives as long as the output; what serves its connections can be replaced, as for new
//! certificates.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lanner_plugin::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::server::Router;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::Settings;
use crate::falco::{Outputs, Version};
use crate::log::Log;
use crate::own::Own;
use crate::proto::falco::outputs::service_server::ServiceServer as OutputsServer;
use crate::proto::falco::version::service_server::ServiceServer as VersionServer;
use crate::proto::own::alerts_server::AlertsServer;

/// How long the end waits for clients to take what is there.
const PATIENCE: Duration = Duration::from_secs(2);
/// A client that has vanished without a word is noticed after so long.
const ALIVE: Duration = Duration::from_secs(30);

/// A server, and the threads that run it.
#[derive(Debug)]
pub(crate) struct Server {
    settings: Settings,
    log: Arc<Log>,
    listener: Listener,
    runtime: Option<Runtime>,
    serving: Option<Serving>,
}

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

impl Server {
    pub(crate) fn start(settings: Settings, log: Arc<Log>) -> Result<Self, Error> {
        let threads = match settings.threadiness {
            0 => std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(4)),
            threads => threads,
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("lanner-grpc")
            .enable_all()
            .build()?;
        let listener = Listener::new(&settings)?;
        let mut server = Self {
            settings,
            log,
            listener,
            runtime: Some(runtime),
            serving: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// Serves new connections with the certificates that are there now; old ones go on as they are.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        let Some(runtime) = &self.runtime else {
            return Ok(());
        };
        let router = self.router()?;
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let entered = runtime.enter();
        let task = match &self.listener {
            Listener::Tcp(listener) => {
                let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
                let incoming = TcpListenerStream::new(listener);
                let serve = router.serve_with_incoming_shutdown(incoming, stopped);
                runtime.spawn(async { drop(serve.await) })
            }
            Listener::Unix(listener, _) => {
                let listener = tokio::net::UnixListener::from_std(listener.try_clone()?)?;
                let incoming = UnixListenerStream::new(listener);
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

    fn router(&self) -> Result<Router, Error> {
        let mut builder = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(ALIVE))
            .http2_keepalive_timeout(Some(ALIVE));
        if let Listener::Tcp(_) = self.listener {
            builder = builder.tls_config(tls(&self.settings)?)?;
        }
        let log = || Arc::clone(&self.log);
        Ok(builder
            .add_service(OutputsServer::new(Outputs(log())))
            .add_service(VersionServer::new(Version))
            .add_service(AlertsServer::new(Own(log()))))
    }

    /// Lets clients take what is there, for a while, and ends.
    pub(crate) fn stop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        if let Some(serving) = self.serving.take() {
            let _ = serving.stop.send(());
            runtime.block_on(async { drop(tokio::time::timeout(PATIENCE, serving.task).await) });
        }
        runtime.shutdown_background();
        if let Listener::Unix(_, path) = &self.listener {
            let _ = fs::remove_file(path);
        }
    }

    /// Where it listens, which is not known beforehand for port 0.
    #[cfg(test)]
    pub(crate) fn port(&self) -> u16 {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().unwrap().port(),
            Listener::Unix(..) => 0,
        }
    }
}

impl Listener {
    fn new(settings: &Settings) -> Result<Self, Error> {
        let address = &settings.bind_address;
        let about = |error: io::Error| format!("{address}: {error}");
        if let Some(path) = address.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(format!("`bind_address`: {address:?} is not unix:///PATH").into());
            }
            let mode = u32::from_str_radix(&settings.socket_mode, 8)
                .ok()
                .filter(|mode| *mode <= 0o777)
                .ok_or("`socket_mode` is no mode such as 660")?;
            let path = PathBuf::from(path);
            let listener = unix(&path, mode).map_err(about)?;
            return Ok(Self::Unix(listener, path));
        }
        // Told before the port is taken.
        tls(settings)?;
        let addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(about)?.collect();
        let listener = TcpListener::bind(&addresses[..]).map_err(about)?;
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(listener))
    }
}

/// Listens at a path. A socket that nobody listens at any more is replaced.
fn unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let stale = fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket())
        && UnixStream::connect(path).is_err();
    if stale {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn tls(settings: &Settings) -> Result<ServerTlsConfig, Error> {
    let (Some(key), Some(chain), Some(roots)) = (
        &settings.private_key,
        &settings.cert_chain,
        &settings.root_certs,
    ) else {
        return Err(
            "over TCP, `private_key`, `cert_chain` and `root_certs` are needed; without them, listen at a Unix socket"
                .into(),
        );
    };
    let read = |path: &Path| {
        fs::read(path).map_err(|error| Error::from(format!("{}: {error}", path.display())))
    };
    Ok(ServerTlsConfig::new()
        .identity(Identity::from_pem(read(chain)?, read(key)?))
        .client_ca_root(Certificate::from_pem(read(roots)?))
        .timeout(Duration::from_secs(10)))
}
