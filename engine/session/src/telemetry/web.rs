//! HTTP: /metrics, /healthz, /versions, and the page. One thread of its own, off by default.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::{Telemetry, prometheus, shown};
use crate::config::Webserver;
use crate::error::WebError;
use crate::page::{self, ListenAddress, Page};
use delivery::Outputs;
use lanner_plugin::files;

/// Connections at once. One more ends the oldest, so that clients that are slow, or that mean harm, keep no one from asking
/// for health.
const CONNECTIONS: usize = 64;
/// How long a client may take for its request.
const SLOW: Duration = Duration::from_secs(10);
/// How long a connection may last, whatever it does: reading slowly, or asking again and again.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a page of metrics is given to all who ask for it. Making it costs more than all else that is asked for, and
/// clients that ask for nothing else must not keep others waiting.
const FRESH: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Debug)]
struct Site {
    settings: Webserver,
    /// The latest page of metrics, and when it was made.
    metrics: Mutex<Option<(Instant, Bytes)>>,
    telemetry: Arc<Telemetry>,
    outputs: Arc<Outputs>,
    page: Option<Page>,
}

#[derive(Debug)]
enum Listener {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener),
}

/// Starts to listen, and answers from a thread of its own until the process ends. Returns where the page is, if there is one.
///
/// # Errors
///
/// The server cannot listen at its address, or there is no thread for it; or the page cannot be kept from strangers.
pub(crate) fn start(
    settings: &Webserver,
    sources: page::Sources,
) -> Result<Option<String>, WebError> {
    let (listener, place) = match &settings.unix_socket {
        Some(path) => (
            // only the owner may connect
            files::listen(path, 0o600).map(Listener::Unix),
            path.display().to_string(),
        ),
        None => {
            let (address, port) = (settings.listen_address.as_str(), settings.listen_port);
            let place = format!("{address}:{port}");
            let listener = std::net::TcpListener::bind((address, port));
            (listener.map(Listener::Tcp), place)
        }
    };
    let wrong = |source| WebError::Listen {
        place: place.clone(),
        source,
    };
    let listener = listener.map_err(wrong)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(wrong)?;
    let (telemetry, outputs) = (Arc::clone(&sources.telemetry), Arc::clone(&sources.outputs));
    let page = if settings.page.enabled {
        let listens_at = match (&listener, &settings.unix_socket) {
            (Listener::Tcp(listener), _) => {
                ListenAddress::Tcp(listener.local_addr().map_err(wrong)?)
            }
            (Listener::Unix(_), path) => ListenAddress::Unix(path.clone().unwrap_or_default()),
        };
        Some(Page::new(settings, listens_at, sources)?)
    } else {
        None
    };
    let invitation = page.as_ref().map(Page::invitation);
    let site = Arc::new(Site {
        settings: settings.clone(),
        metrics: Mutex::default(),
        telemetry,
        outputs,
        page,
    });
    std::thread::Builder::new()
        .name("web".to_owned())
        .spawn(move || {
            if let Err(error) = runtime.block_on(serve(listener, site)) {
                tracing::error!("webserver: {error}");
            }
        })
        .map_err(wrong)?;
    Ok(invitation)
}

/// Checks that the server could listen at its address, without a claim to it.
///
/// # Errors
///
/// There is no such address, or no folder for the socket.
pub(crate) fn check(settings: &Webserver) -> Result<(), WebError> {
    let (checked, place) = match &settings.unix_socket {
        Some(path) => (files::check_socket(path), path.display().to_string()),
        None => {
            let (address, port) = (settings.listen_address.as_str(), settings.listen_port);
            let found = (address, port).to_socket_addrs().and_then(|addresses| {
                let addresses: Vec<_> = addresses.map(|address| (address.ip(), 0)).collect();
                // A UDP socket shows whether the address is one of this host, and keeps no one from the port.
                addresses
                    .into_iter()
                    .try_for_each(|address| UdpSocket::bind(address).map(drop))
            });
            (found, format!("{address}:{port}"))
        }
    };
    checked.map_err(|source| WebError::Listen { place, source })
}

async fn serve(listener: Listener, site: Arc<Site>) -> io::Result<()> {
    let mut open = Connections::default();
    if site.page.is_some() {
        tokio::spawn(look(Arc::clone(&site)));
    }
    match listener {
        Listener::Tcp(listener) => {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => open.add(talk(stream, Arc::clone(&site))),
                    Err(error) => pause(&error).await,
                }
                // its request is looked at before another connection can end it
                tokio::task::yield_now().await;
            }
        }
        Listener::Unix(listener) => {
            listener.set_nonblocking(true)?;
            let listener = UnixListener::from_std(listener)?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => open.add(talk(stream, Arc::clone(&site))),
                    Err(error) => pause(&error).await,
                }
                // its request is looked at before another connection can end it
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Has the page note the counters once a second.
async fn look(site: Arc<Site>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        second.tick().await;
        if let Some(page) = &site.page {
            page.look();
        }
    }
}

/// The open connections, the oldest first.
#[derive(Debug, Default)]
struct Connections(VecDeque<JoinHandle<()>>);

impl Connections {
    fn add(&mut self, talk: impl Future<Output = ()> + Send + 'static) {
        self.0.retain(|connection| !connection.is_finished());
        if self.0.len() >= CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(tokio::spawn(talk));
    }
}

/// No descriptors are left, perhaps.
async fn pause(error: &io::Error) {
    tracing::warn!("webserver: no connection: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn talk<S>(stream: S, site: Arc<Site>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(move |request: Request<Incoming>| {
        let site = Arc::clone(&site);
        async move {
            let answer = site.answer(&request).await;
            // connections take turns, also with one that sends many requests at once
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(answer)
        }
    });
    let talk = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOW)
        .serve_connection(TokioIo::new(stream), answer);
    match tokio::time::timeout(LONGEST, talk).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("webserver: {error}"),
        Err(_) => tracing::debug!("webserver: a connection lasted more than {LONGEST:?}"),
    }
}

impl Site {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let (method, path) = (request.method(), request.uri().path());
        if method != Method::GET && method != Method::HEAD {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is understood\n");
        }
        if path == self.settings.k8s_healthz_endpoint {
            return self.health();
        }
        match path {
            "/metrics" if self.settings.prometheus_metrics_enabled => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                with(StatusCode::OK, kind, self.metrics())
            }
            "/versions" => self.versions(),
            _ => match &self.page {
                Some(page) if page::has(path) => page.answer(request).await,
                _ => plain(StatusCode::NOT_FOUND, "there is no such page\n"),
            },
        }
    }

    /// The page of metrics; it is at most [`FRESH`] old.
    fn metrics(&self) -> Bytes {
        let mut latest = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, page)) = &*latest
            && made.elapsed() < FRESH
        {
            return page.clone();
        }
        let page = prometheus::page(&self.telemetry, &shown::accounts(&self.outputs));
        let page = Bytes::from(page);
        *latest = Some((Instant::now(), page.clone()));
        page
    }

    /// Falco's answer while all is well; what is not, otherwise.
    fn health(&self) -> Response<Full<Bytes>> {
        match self.telemetry.problem() {
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

fn with(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
#[path = "web_tests.rs"]
mod tests;
