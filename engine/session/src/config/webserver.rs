//! `webserver`, and what its keys must be.

use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::KeyError;
use crate::page;

/// The shortest token that can be set.
const TOKEN: usize = 16;

/// `webserver`: off by default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Webserver {
    /// Whether there is one.
    pub enabled: bool,
    /// The address.
    pub listen_address: String,
    /// The port.
    pub listen_port: u16,
    /// A Unix socket instead.
    pub unix_socket: Option<PathBuf>,
    /// Where health is asked for.
    pub k8s_healthz_endpoint: String,
    /// Whether there is /metrics.
    pub prometheus_metrics_enabled: bool,
    /// A page for a browser.
    pub page: PageConfig,
}

/// `webserver.page`: off by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PageConfig {
    /// Whether there is one. It shows alerts, and with them what programs of all users do.
    pub enabled: bool,
    /// Who has it may see the page; at least 16 characters. Required where other hosts can connect. On a loopback address,
    /// lanner makes one at each start and prints it, unless `open` is set. A Unix socket needs none: only its owner can
    /// connect.
    pub token: Option<String>,
    /// On a loopback address: every user of this host may see the page, without a token.
    pub open: bool,
    /// Names by which browsers reach the page, beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

impl Default for Webserver {
    fn default() -> Self {
        Self {
            enabled: false,
            listen_address: "127.0.0.1".to_owned(),
            listen_port: 8765,
            unix_socket: None,
            k8s_healthz_endpoint: "/healthz".to_owned(),
            prometheus_metrics_enabled: true,
            page: PageConfig::default(),
        }
    }
}

impl Webserver {
    /// Checks what the types cannot express.
    pub(super) fn check(&self) -> Result<(), KeyError> {
        let page = &self.page;
        if self.enabled {
            self.check_address()?;
        }
        if !page.enabled {
            return Ok(());
        }
        if !self.enabled {
            return Err(KeyError::PageWithoutServer);
        }
        if page::has(&self.k8s_healthz_endpoint) {
            return Err(KeyError::HealthOnPage(self.k8s_healthz_endpoint.clone()));
        }
        let is_good = |token: &String| {
            token.len() >= TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !page.token.as_ref().is_none_or(is_good) {
            return Err(KeyError::PageToken(TOKEN));
        }
        if page.open && page.token.is_some() {
            return Err(KeyError::OpenWithToken);
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        for host in &page.hosts {
            if host.is_empty() || !host.chars().all(is_name) {
                return Err(KeyError::PageHost(host.clone()));
            }
        }
        if page.token.is_none() && self.unix_socket.is_none() && !is_loopback(&self.listen_address)
        {
            return Err(KeyError::PageNeedsToken(self.listen_address.clone()));
        }
        Ok(())
    }
}

impl Webserver {
    fn check_address(&self) -> Result<(), KeyError> {
        if let Some(path) = &self.unix_socket {
            if path.as_os_str().is_empty() {
                return Err(KeyError::NoSocketPath);
            }
        } else if self.listen_port == 0 && !self.page.enabled {
            // With a page, lanner prints the address.
            return Err(KeyError::NoPort);
        }
        // what a request's path can have (RFC 3986, 3.3)
        let is_good =
            |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte);
        let path = &self.k8s_healthz_endpoint;
        if !path.starts_with('/') || !path.bytes().all(is_good) {
            return Err(KeyError::HealthPath(path.clone()));
        }
        if matches!(path.as_str(), "/metrics" | "/versions") {
            return Err(KeyError::HealthTaken(path.clone()));
        }
        Ok(())
    }
}

/// Whether only this host can reach the address.
fn is_loopback(address: &str) -> bool {
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        // what it resolves to is checked when the server listens
        Err(_) => address.eq_ignore_ascii_case("localhost"),
    }
}
