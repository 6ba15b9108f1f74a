//! Output plugin: alerts by HTTP POST, one each as falcosidekick and Falco's other receivers take them, or many at once.
//!
//! What the answer's status means: 2xx is delivered; 400, 413, 415 and 422 say that the receiver will never take this
//! alert, which is logged, counted (`rejected_total`) and left behind so that it does not stop the others; everything else,
//! and no answer, is tried again.

mod agent;
mod body;

use std::collections::BTreeMap;
use std::path::PathBuf;

use lanner_plugin::{Alerts, Counter, Delivery, Error, Host, Level, OutputPlugin};
use schemars::JsonSchema;
use serde::Deserialize;
use ureq::Agent;

/// What a user can set for this plugin. The names are Falco's where Falco has them (`http_output`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where to: `http://HOST:PORT/PATH` or `https://...`.
    pub url: String,
    /// How many alerts go into one request.
    #[serde(default)]
    pub batch: Batch,
    /// What the `User-Agent` header says.
    #[serde(default = "user_agent")]
    pub user_agent: String,
    /// Further headers, such as `Authorization`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Do not check the receiver's certificate. Whoever stands in between can then read and swallow alerts.
    #[serde(default)]
    pub insecure: bool,
    /// Certificates (PEM) that may have signed the receiver's; without, those of this host.
    #[serde(default)]
    pub ca_cert: Option<PathBuf>,
    /// As `ca_cert`, beside it.
    #[serde(default)]
    pub ca_bundle: Option<PathBuf>,
    /// A folder with such certificates.
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
    /// Seconds that a request may take.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout: u64,
}

/// How alerts are put into requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Batch {
    /// One alert a request, a JSON object.
    #[default]
    None,
    /// Many alerts, a JSON array.
    Array,
    /// Many alerts, one JSON object a line (application/x-ndjson).
    Lines,
}

fn user_agent() -> String {
    concat!("lanner/", env!("CARGO_PKG_VERSION")).to_owned()
}

fn yes() -> bool {
    true
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
    requests: Counter,
    rejected: Counter,
}

/// What a request came to.
enum Answer {
    Taken,
    /// The receiver will never take this.
    Rejected(String),
    /// Later perhaps.
    NotNow(String),
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn open(host: Host, settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            agent: agent::new(&settings)?,
            requests: host.counter("requests_total", "Requests that were answered.", &[]),
            rejected: host.counter(
                "rejected_total",
                "Alerts that the receiver refused for good.",
                &[],
            ),
            host,
            settings,
        })
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        let lines: Vec<&str> = alerts.iter().map(|alert| alert.json()).collect();
        let size = match self.settings.batch {
            Batch::None => 1,
            Batch::Array | Batch::Lines => lines.len().max(1),
        };
        let mut delivered = 0;
        for part in lines.chunks(size) {
            match self.post(part) {
                Answer::Taken => {}
                Answer::Rejected(reason) => {
                    self.rejected.add(part.len() as u64);
                    let message = format!("{} alerts are refused for good: {reason}", part.len());
                    self.host.log(Level::Error, &message);
                }
                Answer::NotNow(reason) => return Delivery::TryAgain { delivered, reason },
            }
            delivered += part.len();
        }
        Delivery::Delivered
    }

    /// Connects anew, with the certificates that are there now.
    fn reopen(&mut self) -> Result<(), Error> {
        self.agent = agent::new(&self.settings)?;
        Ok(())
    }
}

impl Output {
    fn post(&self, alerts: &[&str]) -> Answer {
        let settings = &self.settings;
        let url = &settings.url;
        let body = match body::of(alerts, settings.batch, settings.compress_uploads) {
            Ok(body) => body,
            Err(error) => return Answer::NotNow(format!("compressing: {error}")),
        };
        let mut request = self.agent.post(url).content_type(match settings.batch {
            Batch::Lines => "application/x-ndjson",
            Batch::None | Batch::Array => "application/json",
        });
        if settings.compress_uploads {
            request = request.header("Content-Encoding", "gzip");
        }
        if !settings.keep_alive {
            request = request.header("Connection", "close");
        }
        for (name, value) in &settings.headers {
            request = request.header(name, value);
        }
        let mut response = match request.send(&body[..]) {
            Ok(response) => response,
            Err(error) => return Answer::NotNow(format!("{url}: {error}")),
        };
        self.requests.add(1);
        let status = response.status();
        // Read to the end, so that the connection can be used again.
        let said = response
            .body_mut()
            .with_config()
            .limit(64 * 1024)
            .lossy_utf8(true)
            .read_to_string()
            .unwrap_or_default();
        if settings.echo {
            self.host
                .log(Level::Info, &format!("{url} answers {status}: {said}"));
        }
        let said: String = said.chars().take(200).collect();
        let reason = format!("{url} answers {status}: {said}");
        match status.as_u16() {
            200..=299 => Answer::Taken,
            400 | 413 | 415 | 422 => Answer::Rejected(reason),
            _ => Answer::NotNow(reason),
        }
    }
}

lanner_plugin::export_plugin! {
    name: "output-http",
    description: "Alerts by HTTP POST, as Falco's JSON.",
    output: Output,
}

#[cfg(test)]
mod tests;
