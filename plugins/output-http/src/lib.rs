//! Output plugin: alerts by HTTP POST. A request has one alert, as falcosidekick and Falco's other receivers expect it, or
//! many.
//!
//! The answer's status decides. 2xx: the alerts are delivered. 400, 413, 415 and 422: the receiver will never take these
//! alerts. If they are several, the plugin sends fewer, until it finds the one that is refused: the host gives up on that
//! one, and the plugin counts it (`rejected_total`). Any other status, or no answer: the host offers the alerts again,
//! after the time that the receiver asks for (`Retry-After`).
//!
//! | file | does |
//! |---|---|
//! | `agent` | the HTTP client: certificates, deadlines, connections |
//! | `body`, `share` | the bodies of requests; how many alerts the next one has |
//! | `token` | the token of `bearer_token_file` |
//! | `wait` | `Retry-After` |

mod agent;
mod body;
mod share;
mod token;
mod wait;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lanner_plugin::{Alerts, Counter, Delivery, Error, Host, Level, OutputPlugin, Turn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::http::StatusCode;

use share::Share;
use wait::Wait;

/// What a user can set for this plugin. The names are Falco's where Falco has them (`http_output`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The receiver: `http://HOST:PORT/PATH` or `https://...`.
    pub url: String,
    /// How many alerts go into one request.
    #[serde(default)]
    pub batch: Batch,
    /// How many alerts a request has at most, if `batch` is not `none`.
    #[serde(default = "most_alerts")]
    #[schemars(range(min = 1))]
    pub batch_alerts: usize,
    /// How many bytes of alerts a request has at most, before compression, if `batch` is not `none`. A request has at
    /// least one alert.
    #[serde(default = "most_bytes")]
    #[schemars(range(min = 1))]
    pub batch_bytes: usize,
    /// The `User-Agent` header.
    #[serde(default = "user_agent")]
    pub user_agent: String,
    /// Further headers, such as `Authorization`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A file with a token, which requests show as `Authorization: Bearer TOKEN`. It is read again when outputs are
    /// reopened.
    #[serde(default)]
    pub bearer_token_file: Option<PathBuf>,
    /// Do not check the receiver's certificate. Anyone on the way to the receiver can then read and drop alerts.
    #[serde(default)]
    pub insecure: bool,
    /// Certificates (PEM) that can have signed the receiver's. Without `ca_cert`, `ca_bundle` and `ca_path`, those that
    /// this host trusts.
    #[serde(default)]
    pub ca_cert: Option<PathBuf>,
    /// A second file like `ca_cert`.
    #[serde(default)]
    pub ca_bundle: Option<PathBuf>,
    /// A folder with files like `ca_cert`.
    #[serde(default)]
    pub ca_path: Option<PathBuf>,
    /// Show `client_cert` to the receiver.
    #[serde(default)]
    pub mtls: bool,
    /// Certificate chain (PEM) to show to the receiver.
    #[serde(default)]
    pub client_cert: Option<PathBuf>,
    /// The key (PEM) of that certificate.
    #[serde(default)]
    pub client_key: Option<PathBuf>,
    /// Compress requests (gzip).
    #[serde(default)]
    pub compress_uploads: bool,
    /// Keep the connection for the next request.
    #[serde(default = "yes")]
    pub keep_alive: bool,
    /// Write the receiver's answers to lanner's log (level info).
    #[serde(default)]
    pub echo: bool,
    /// How many seconds a request can take.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout: u64,
}

/// How alerts are put into requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Batch {
    /// Each request has one alert, a JSON object.
    #[default]
    None,
    /// Each request has many alerts, a JSON array.
    Array,
    /// Each request has many alerts, one JSON object on each line (application/x-ndjson).
    Lines,
}

fn user_agent() -> String {
    concat!("lanner/", env!("CARGO_PKG_VERSION")).to_owned()
}

fn yes() -> bool {
    true
}

fn most_alerts() -> usize {
    256
}

fn most_bytes() -> usize {
    1_000_000
}

fn five() -> u64 {
    5
}

/// The output.
#[derive(Debug)]
pub struct Output {
    host: Host,
    settings: Settings,
    agent: Agent,
    /// The `Authorization` header, from `bearer_token_file`.
    authorization: Option<String>,
    share: Share,
    wait: Wait,
    requests: Counter,
    rejected: Counter,
}

/// A request did not deliver its alerts.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error("cannot compress alerts")]
    Compress(#[source] io::Error),
    #[error("{url}")]
    NoAnswer { url: String, source: ureq::Error },
    #[error("{url} answers {status}: {answer}")]
    Status {
        url: String,
        status: StatusCode,
        /// The beginning of the answer's body.
        answer: String,
        /// How long the receiver asks to wait.
        retry_after: Option<Duration>,
    },
}

impl PostError {
    /// Whether the receiver will never take these alerts.
    fn is_rejection(&self) -> bool {
        match self {
            Self::Compress(_) | Self::NoAnswer { .. } => false,
            Self::Status { status, .. } => matches!(status.as_u16(), 400 | 413 | 415 | 422),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Compress(_) | Self::NoAnswer { .. } => None,
            Self::Status { retry_after, .. } => *retry_after,
        }
    }
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn check(settings: &Settings) -> Result<(), Error> {
        // The client connects with its first request.
        agent::new(settings)?;
        token::authorization(settings)?;
        Share::new(settings)?;
        Ok(())
    }

    fn warnings(settings: &Settings) -> Vec<String> {
        agent::warnings(settings)
    }

    fn open(host: Host, settings: Settings) -> Result<Self, Error> {
        let counter = |name, help| host.counter(name, help, &[]);
        Ok(Self {
            agent: agent::new(&settings)?,
            authorization: token::authorization(&settings)?,
            share: Share::new(&settings)?,
            wait: Wait::default(),
            requests: counter("requests_total", "Requests that were answered."),
            rejected: counter(
                "rejected_total",
                "Alerts that the receiver refused for good.",
            ),
            host,
            settings,
        })
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        if let Some(wait) = self.wait.left(Instant::now()) {
            return Delivery::try_again(0, &wait);
        }
        let alerts: Vec<&str> = alerts.iter().map(|alert| alert.json()).collect();
        let turn = Turn::begin();
        let mut done = 0;
        while done < alerts.len() {
            if done > 0 && turn.is_over() {
                return Delivery::go_on(done);
            }
            let count = self.share.of(&alerts[done..]);
            match self.post(&alerts[done..done + count]) {
                Ok(()) => {
                    done += count;
                    self.share.accepted(count);
                }
                // One of these alerts is at fault, or they are too many.
                Err(error) if error.is_rejection() && count > 1 => self.share.halve(count),
                Err(error) if error.is_rejection() => {
                    self.rejected.add(1);
                    self.share.refused_one();
                    return Delivery::refused(done, 1, &error);
                }
                Err(error) => {
                    self.wait.begin(error.retry_after());
                    return Delivery::try_again(done, &error);
                }
            }
        }
        Delivery::Delivered
    }

    /// Makes a new client, which connects anew, and reads certificates and the token again.
    fn reopen(&mut self) -> Result<(), Error> {
        self.authorization = token::authorization(&self.settings)?;
        self.agent = agent::new(&self.settings)?;
        self.wait = Wait::default();
        Ok(())
    }
}

impl Output {
    fn post(&self, alerts: &[&str]) -> Result<(), PostError> {
        let settings = &self.settings;
        let url = settings.url.clone();
        let body = body::body(alerts, settings.batch, settings.compress_uploads)
            .map_err(PostError::Compress)?;
        let mut request = self.agent.post(&url);
        let mut headers = settings.headers.keys();
        if !headers.any(|name| name.eq_ignore_ascii_case("content-type")) {
            request = request.content_type(match settings.batch {
                Batch::Lines => "application/x-ndjson",
                Batch::None | Batch::Array => "application/json",
            });
        }
        if settings.compress_uploads {
            request = request.header("Content-Encoding", "gzip");
        }
        if !settings.keep_alive {
            request = request.header("Connection", "close");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        for (name, value) in &settings.headers {
            request = request.header(name, value);
        }
        let mut response = match request.send(&body[..]) {
            Ok(response) => response,
            Err(source) => return Err(PostError::NoAnswer { url, source }),
        };
        self.requests.add(1);
        let status = response.status();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| wait::retry_after(value.to_str().ok()?));
        // The connection can be used again only when the answer has been read to its end.
        let answer = response
            .body_mut()
            .with_config()
            .limit(64 * 1024)
            .lossy_utf8(true)
            .read_to_string()
            .unwrap_or_default();
        // lanner does not know what is in the file of the token, and a receiver may repeat it
        let answer = match &self.authorization {
            Some(authorization) => token::hide(&answer, authorization),
            None => answer,
        };
        if settings.echo {
            self.host
                .log(Level::Info, &format!("{url} answers {status}: {answer}"));
        }
        if status.is_success() {
            return Ok(());
        }
        let answer = answer.chars().take(200).collect();
        Err(PostError::Status {
            url,
            status,
            answer,
            retry_after,
        })
    }
}

lanner_plugin::export_plugin! {
    name: "output-http",
    description: "Alerts by HTTP POST, as Falco's JSON.",
    output: Output,
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
