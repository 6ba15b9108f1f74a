//! HTTP: /metrics, /healthz, /versions. One thread of its own, off by default.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::{Telemetry, prometheus};
use crate::config::Webserver;
use crate::error::WebError;
use delivery::Outputs;

/// Connections at once; more wait.
const CONNECTIONS: usize = 64;
/// How long a client may take for its request.
const SLOW: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug)]
struct Site {
    settings: Webserver,
    telemetry: Arc<Telemetry>,
    outputs: Arc<Outputs>,
}

#[derive(Debug)]
enum Listener {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener),
}

/// Starts to listen, and answers from a thread of its own until the process ends.
///
/// # Errors
///
/// The server cannot listen at its address, or there is no thread for it.
pub(crate) fn start(
    settings: &Webserver,
    telemetry: Arc<Telemetry>,
    outputs: Arc<Outputs>,
) -> Result<(), WebError> {
    let (listener, place) = match &settings.unix_socket {
        Some(path) => (
            listen_at(path).map(Listener::Unix),
            path.display().to_string(),
        ),
        None => {
            let (address, port) = (settings.listen_address.as_str(), settings.listen_port);
            let place = format!("{address}:{port}");
            let listener = std::net::TcpListener::bind((address, port));
            (listener.map(Listener::Tcp), place)
        }
    };
    let wrong = |source| WebError {
        place: place.clone(),
        source,
    };
    let listener = listener.map_err(wrong)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(wrong)?;
    let site = Arc::new(Site {
        settings: settings.clone(),
        telemetry,
        outputs,
    });
    std::thread::Builder::new()
        .name("web".to_owned())
        .spawn(move || {
            if let Err(error) = runtime.block_on(serve(listener, site)) {
                tracing::error!("webserver: {error}");
            }
        })
        .map_err(wrong)?;
    Ok(())
}

/// Replaces a socket that was left behind, but not one with a listener. Only the owner may connect.
fn listen_at(path: &Path) -> io::Result<StdUnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let listener = StdUnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve(listener: Listener, site: Arc<Site>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    match listener {
        Listener::Tcp(listener) => {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            loop {
                let place = Arc::clone(&places).acquire_owned().await;
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(talk(stream, Arc::clone(&site), place))),
                    Err(error) => pause(&error).await,
                }
            }
        }
        Listener::Unix(listener) => {
            listener.set_nonblocking(true)?;
            let listener = UnixListener::from_std(listener)?;
            loop {
                let place = Arc::clone(&places).acquire_owned().await;
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(talk(stream, Arc::clone(&site), place))),
                    Err(error) => pause(&error).await,
                }
            }
        }
    }
}

/// No descriptors are left, perhaps.
async fn pause(error: &io::Error) {
    tracing::warn!("webserver: no connection: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// `_place` is given back at the end.
async fn talk<S, P>(stream: S, site: Arc<Site>, _place: P)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(move |request: Request<Incoming>| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request.method(), request.uri().path())) }
    });
    let talk = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOW)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = talk.await {
        tracing::debug!("webserver: {error}");
    }
}

impl Site {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is understood\n");
        }
        if path == self.settings.k8s_healthz_endpoint {
            return self.health();
        }
        match path {
            "/metrics" if self.settings.prometheus_metrics_enabled => {
                let page = prometheus::page(&self.telemetry, &self.outputs.accounts());
                with(
                    StatusCode::OK,
                    "text/plain; version=0.0.4; charset=utf-8",
                    page,
                )
            }
            "/versions" => self.versions(),
            _ => plain(StatusCode::NOT_FOUND, "there is no such page\n"),
        }
    }

    /// Falco's answer while all is well; what is not, otherwise.
    fn health(&self) -> Response<Full<Bytes>> {
        let problem = if self.telemetry.rules_hang() {
            Some("the rule plugin does not return from a call")
        } else if !self.telemetry.is_alive() {
            Some("the event path does not answer")
        } else if self.telemetry.rules_off.load(Relaxed) {
            Some("the rule plugin is switched off")
        } else {
            None
        };
        match problem {
            None => json_page(StatusCode::OK, &json!({"status": "ok"})),
            Some(reason) => json_page(
                StatusCode::SERVICE_UNAVAILABLE,
                &json!({"status": "failing", "reason": reason}),
            ),
        }
    }

    fn versions(&self) -> Response<Full<Bytes>> {
        let (major, minor) = (lanner_plugin::abi::ABI_MAJOR, lanner_plugin::abi::ABI_MINOR);
        let versions = json!({
            "lanner_version": env!("CARGO_PKG_VERSION"),
            "plugin_abi_version": format!("{major}.{minor}"),
            "driver": self.telemetry.driver().name,
        });
        json_page(StatusCode::OK, &versions)
    }
}

fn json_page(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    with(status, "application/json", value.to_string())
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    with(status, "text/plain; charset=utf-8", text.to_owned())
}

fn with(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
