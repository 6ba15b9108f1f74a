//! Output plugin: a gRPC server, from which clients take alerts. It has Falco's services, which Falco's clients know
//! (`proto/falco`), and a service of our own with filters, a cursor and notices of loss (`proto/lanner`).
//!
//! | file | does |
//! |---|---|
//! | `log` | keeps the newest alerts in a bounded buffer, which each client reads at its own pace |
//! | `follow` | sends the buffer's alerts to one client |
//! | `falco`, `own` | the services |
//! | `convert` | alerts as messages |
//! | `server` | listening, TLS, stopping |
//! | `incoming` | accepts a limited number of connections, and goes on after failures |
//! | `connection` | a client's connection, which has a place |
//! | `authority` | makes requests of current clients acceptable to the HTTP/2 library |
//! | `generated` | messages and service traits, made from `proto/` (see `tests/generated.rs`) |
//!
//! An alert counts as delivered when it is in the buffer. A client that reads too slowly misses alerts and gets a notice
//! of that. It neither delays other clients nor costs more memory than they do.

mod authority;
mod connection;
mod convert;
mod falco;
mod follow;
mod incoming;
mod log;
mod own;
mod server;

/// The code that is generated from `proto/`. Its modules are nested as the packages are.
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
            include!("generated/falco.outputs.rs");
        }
        pub(crate) mod schema {
            include!("generated/falco.schema.rs");
        }
        pub(crate) mod version {
            include!("generated/falco.version.rs");
        }
    }
    pub(crate) mod own {
        include!("generated/lanner.alerts.v1.rs");
    }
}

use std::path::PathBuf;
use std::sync::Arc;

use lanner_plugin::{
    Alerts, Delivery, Error, Host, InvalidSetting, OutputPlugin, Permissions, at_least,
};
use schemars::JsonSchema;
use serde::Deserialize;

use log::Log;
use server::Server;

/// What a user can set for this plugin. The names are Falco's where Falco has them (`grpc`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where to listen: `unix:///run/falco/falco.sock` (default) or `HOST:PORT`. Over TCP, clients must show a
    /// certificate, and `private_key`, `cert_chain` and `root_certs` are required.
    #[schemars(extend("x-lanner-alone" = true))]
    pub bind_address: String,
    /// How many threads serve clients. 0: one for each CPU, but at most four.
    #[schemars(range(max = 64))]
    pub threadiness: usize,
    /// The key (PEM) of the server's certificate.
    pub private_key: Option<PathBuf>,
    /// The server's certificate chain (PEM).
    pub cert_chain: Option<PathBuf>,
    /// Certificates (PEM) that can have signed those of clients.
    pub root_certs: Option<PathBuf>,
    /// Permissions of the Unix socket, as octal digits of chmod(1).
    pub socket_mode: Permissions,
    /// How many alerts are kept for clients that are slow or come later.
    #[schemars(range(min = 1))]
    pub keep: usize,
    /// How many MiB of alerts are kept.
    #[schemars(range(min = 1))]
    pub keep_mb: usize,
    /// How many clients can be connected to a stream at a time.
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
            socket_mode: Permissions::private(),
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

    fn check(settings: &Settings) -> Result<(), Error> {
        check(settings)?;
        Ok(server::check(settings)?)
    }

    fn warnings(settings: &Settings) -> Vec<String> {
        server::warnings(settings)
    }

    fn open(host: Host, settings: Settings) -> Result<Self, Error> {
        check(&settings)?;
        let log = Arc::new(Log::new(host, &settings));
        let server = Server::start(host, settings, Arc::clone(&log))?;
        Ok(Self { log, server })
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        if !alerts.is_empty() {
            self.log
                .append(alerts.iter().map(|alert| convert::item(&alert)));
        }
        Delivery::Delivered
    }

    /// Reads the certificates again, for new connections. Existing connections stay.
    fn reopen(&mut self) -> Result<(), Error> {
        Ok(self.server.restart()?)
    }
}

fn check(settings: &Settings) -> Result<(), InvalidSetting> {
    at_least("keep", settings.keep, 1)?;
    at_least("keep_mb", settings.keep_mb, 1)?;
    at_least("max_clients", settings.max_clients, 1)
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
