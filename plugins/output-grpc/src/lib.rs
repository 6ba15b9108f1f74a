//! Output plugin: a gRPC server, from which clients take alerts: Falco's service as its clients know it
//! (`proto/falco`), and one of our own beside it with filters, a cursor and notices of loss (`proto/lanner`).
//!
//! | file | does |
//! |---|---|
//! | `log` | the newest alerts, in a bounded buffer that all clients read at their own pace |
//! | `follow` | one client's way through it |
//! | `falco`, `own` | the services |
//! | `convert` | alerts as messages |
//! | `server` | listening, TLS, the end |
//!
//! An alert counts as delivered when it is in the buffer. A client that reads too slowly is overtaken and told so;
//! it delays nobody and costs no more memory than any other.

mod convert;
mod falco;
mod follow;
mod log;
mod own;
mod server;

/// What build.rs makes from `proto/`.
mod proto {
    #![expect(
        non_camel_case_types,
        unreachable_pub,
        unused_qualifications,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::large_enum_variant,
        reason = "generated code"
    )]

    pub(crate) mod falco {
        pub(crate) mod outputs {
            tonic::include_proto!("falco.outputs");
        }
        pub(crate) mod schema {
            tonic::include_proto!("falco.schema");
        }
        pub(crate) mod version {
            tonic::include_proto!("falco.version");
        }
    }
    pub(crate) mod own {
        tonic::include_proto!("lanner.alerts.v1");
    }
}

use std::path::PathBuf;
use std::sync::Arc;

use lanner_plugin::{Alerts, Delivery, Error, Host, OutputPlugin};
use schemars::JsonSchema;
use serde::Deserialize;

use log::Log;
use server::Server;

/// What a user can set for this plugin. The names are Falco's where Falco has them (`grpc`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where to listen: `unix:///run/falco/falco.sock` (default) or `HOST:PORT`. Over TCP, clients have to show a
    /// certificate, and the three files below are needed.
    pub bind_address: String,
    /// Threads that serve; 0: one for each CPU, four at the most.
    #[schemars(range(max = 64))]
    pub threadiness: usize,
    /// The key (PEM) of the server's certificate.
    pub private_key: Option<PathBuf>,
    /// The server's certificate chain (PEM).
    pub cert_chain: Option<PathBuf>,
    /// Certificates (PEM) that may have signed those of clients.
    pub root_certs: Option<PathBuf>,
    /// Permissions of the Unix socket, as digits of chmod(1).
    #[schemars(regex(pattern = r"^0?[0-7]{3}$"))]
    pub socket_mode: String,
    /// So many alerts are kept for clients that are slow or come later.
    #[schemars(range(min = 1))]
    pub keep: usize,
    /// So many MiB of alerts are kept.
    #[schemars(range(min = 1))]
    pub keep_mb: usize,
    /// So many clients can follow at a time.
    #[schemars(range(min = 1))]
    pub max_clients: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bind_address: "unix:///run/falco/falco.sock".to_owned(),
            threadiness: 0,
            private_key: None,
            cert_chain: None,
            root_certs: None,
            socket_mode: "600".to_owned(),
            keep: 10_000,
            keep_mb: 32,
            max_clients: 1000,
        }
    }
}

/// The output.
#[derive(Debug)]
pub struct Output {
    log: Arc<Log>,
    server: Server,
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn open(host: Host, settings: Settings) -> Result<Self, Error> {
        if settings.keep == 0 || settings.keep_mb == 0 || settings.max_clients == 0 {
            return Err("`keep`, `keep_mb` and `max_clients` are at least 1".into());
        }
        let log = Arc::new(Log::new(host, &settings));
        let server = Server::start(settings, Arc::clone(&log))?;
        Ok(Self { log, server })
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        if !alerts.is_empty() {
            self.log
                .append(alerts.iter().map(|alert| convert::item(&alert)));
        }
        Delivery::Delivered
    }

    /// Takes new certificates. Who is connected stays.
    fn reopen(&mut self) -> Result<(), Error> {
        self.server.restart()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.log.close();
        self.server.stop();
    }
}

lanner_plugin::export_plugin! {
    name: "output-grpc",
    description: "Alerts to clients that subscribe by gRPC: Falco's service, and one with filters and a cursor.",
    output: Output,
}

#[cfg(test)]
mod tests;
