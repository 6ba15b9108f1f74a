//! The web page: alerts as they come, rates of events and losses, drivers, outputs and rules. `telemetry::web` serves it
//! beside /metrics; it is off by default.
//!
//! | file | does |
//! |---|---|
//! | `access` | who may see it: the name that the browser used, and the token |
//! | `facts` | the facts that the page shows, as JSON: from the counters of /metrics |
//! | `history` | the counters of the last minutes, for plots |
//! | `explain` | what a rule amounts to |
//! | `answer` | responses, and the headers that bind a browser |
//! | `site/` | what the browser runs; it is part of the program |
//!
//! The browser asks again and again, and each answer is short. If there is no new alert, the answer waits for one; only a few
//! answers may wait. The alerts are kept once for all browsers. A slow browser misses some, and the page shows how many.

mod access;
mod answer;
mod explain;
mod facts;
mod history;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use delivery::{Feed, Outputs};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;

use crate::config::Webserver;
use crate::error::WebError;
use crate::rule_loader::RuleLoader;
use crate::telemetry::Telemetry;
use access::{Access, Denied};
use explain::Explainer;
use history::History;

/// Fields that the page shows of each alert, whatever its rule's output has.
pub(crate) const CONTEXT: &[&str] = &["proc.name", "proc.pid", "container.id", "container.name"];

/// How long an answer waits for an alert.
const WAIT: Duration = Duration::from_secs(20);
/// How often a waiting answer looks for an alert. The event path wakes no reader.
const LOOK: Duration = Duration::from_millis(100);
/// Answers that wait at once. One more is refused, so that pages leave the places of the server to others.
const WAITING: usize = 16;
/// At most this many alerts are in one answer,
const ALERTS: usize = 256;
/// of about this many bytes.
const BYTES: usize = 512 << 10;

/// The type of scripts.
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files of the page: path, type, content.
const FILES: &[(&str, &str, &str)] = &[
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("site/page.html"),
    ),
    (
        "/page/page.css",
        "text/css; charset=utf-8",
        include_str!("site/page.css"),
    ),
    ("/page/page.js", SCRIPT, include_str!("site/page.js")),
    ("/page/ask.js", SCRIPT, include_str!("site/ask.js")),
    ("/page/text.js", SCRIPT, include_str!("site/text.js")),
    ("/page/table.js", SCRIPT, include_str!("site/table.js")),
    ("/page/plot.js", SCRIPT, include_str!("site/plot.js")),
    ("/page/alerts.js", SCRIPT, include_str!("site/alerts.js")),
    ("/page/rates.js", SCRIPT, include_str!("site/rates.js")),
    ("/page/drivers.js", SCRIPT, include_str!("site/drivers.js")),
    ("/page/outputs.js", SCRIPT, include_str!("site/outputs.js")),
    ("/page/rules.js", SCRIPT, include_str!("site/rules.js")),
    (
        "/page/icon.svg",
        "image/svg+xml",
        include_str!("site/icon.svg"),
    ),
];

/// Whether a path is the page's.
#[must_use]
pub(crate) fn has(path: &str) -> bool {
    path == "/" || path == "/page" || path.starts_with("/page/")
}

/// What the page is made from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) loader: Arc<RuleLoader>,
    /// What each driver can do on this host, as `lanner drivers --json` prints it.
    pub(crate) drivers: String,
}

/// Where the server listens.
#[derive(Debug, Clone)]
pub(crate) enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The page.
#[derive(Debug)]
pub(crate) struct Page {
    access: Access,
    sources: Sources,
    feed: Arc<Feed>,
    history: History,
    explainer: Explainer,
    waiting: AtomicUsize,
    listens_at: ListenAddress,
}

/// One of the answers that wait.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Page {
    /// The page of a server that listens there. From now on, the latest alerts are kept.
    ///
    /// # Errors
    ///
    /// The kernel gives no random bytes for a token, or other hosts can connect and there is none.
    pub(crate) fn new(
        settings: &Webserver,
        listens_at: ListenAddress,
        sources: Sources,
    ) -> Result<Self, WebError> {
        Ok(Self {
            access: Access::new(&settings.page, &listens_at)?,
            feed: sources.outputs.feed(),
            history: History::default(),
            explainer: Explainer::new(Arc::clone(&sources.loader)),
            waiting: AtomicUsize::new(0),
            listens_at,
            sources,
        })
    }

    /// Where a user finds the page, and how to get in.
    #[must_use]
    pub(crate) fn invitation(&self) -> String {
        self.access.invitation(&self.listens_at)
    }

    /// Notes the counters. To be called about once a second.
    pub(crate) fn look(&self) {
        let (captured, lost) = self.sources.telemetry.events();
        self.history
            .add(captured, lost.iter().sum(), self.feed.last());
    }

    /// The answer to a request of a path that the page [`has`].
    pub(crate) async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if let Err(denied) = self.access.named(request) {
            return answer::denied(denied);
        }
        if let Some((_, kind, text)) = FILES.iter().find(|(name, ..)| *name == path) {
            return answer::file(kind, text);
        }
        if let Err(denied) = self.access.facts(request) {
            return answer::denied(denied);
        }
        let query = request.uri().query().unwrap_or_default();
        match path {
            "/page/state" => {
                let after = number(query, "after").unwrap_or(0);
                let state = facts::state(&self.sources, &self.feed, self.history.since(after));
                answer::json(&state)
            }
            "/page/alerts" => self.alerts(number(query, "after")).await,
            "/page/drivers" => answer::document(self.sources.drivers.clone()),
            "/page/rule" => {
                let board = self.sources.telemetry.board();
                match self.explainer.explain(value(query, "name"), board).await {
                    Ok(document) => answer::document(document),
                    Err(error) => answer::problem(StatusCode::CONFLICT, &error.to_string()),
                }
            }
            _ => answer::problem(StatusCode::NOT_FOUND, "there is no such page"),
        }
    }

    /// The alerts after a number. Waits for one.
    async fn alerts(&self, after: Option<u64>) -> Response<Full<Bytes>> {
        if self.waiting.fetch_add(1, Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Relaxed);
            return answer::denied(Denied::Busy);
        }
        let _waiting = Waiting(&self.waiting);
        let until = Instant::now() + WAIT;
        if let Some(after) = after {
            while self.feed.last() == after && Instant::now() < until {
                tokio::time::sleep(LOOK).await;
            }
        }
        let latest = self.feed.since(after, ALERTS, BYTES);
        answer::json(&facts::alerts(&self.sources.telemetry, &latest))
    }
}

/// A value of a query. Bytes that are written as `%20` are decoded; what is no UTF-8 then is nothing.
fn value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, written) = pairs.into_iter().find(|(key, _)| *key == name)?;
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

fn number(query: &str, name: &str) -> Option<u64> {
    value(query, name)?.parse().ok()
}

#[cfg(test)]
mod tests;
