//! The HTTP client: certificates, deadlines, connections.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lanner_plugin::files::{self, FileError};
use lanner_plugin::tls::{Identity, TlsError};
use lanner_plugin::{InvalidSetting, at_least};
use ureq::Agent;
use ureq::http::uri::InvalidUri;
use ureq::http::{HeaderName, HeaderValue, Uri};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::Settings;

/// The largest file that is read, in bytes.
const MAX_PEM: u64 = 16 << 20;

/// There is no client for these settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    #[error("`url`: {url:?} is no address")]
    Url { url: String, source: InvalidUri },
    #[error("cannot list {}", file.display())]
    List { file: PathBuf, source: io::Error },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot use the PEM file {}", file.display())]
    Pem { file: PathBuf, source: ureq::Error },
    #[error("there is no certificate in {}", file.display())]
    NoCertificate { file: PathBuf },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("`ca_path`: no file in {} can be used as a certificate; the first of them", folder.display())]
    NoneOfFolder {
        folder: PathBuf,
        source: Box<AgentError>,
    },
    #[error("`ca_path`: there is no file in {}", folder.display())]
    EmptyFolder { folder: PathBuf },
    #[error("there is no certificate to check the receiver's by; set `ca_cert`")]
    NoRoots,
    #[error("`mtls` needs `client_cert` and `client_key`")]
    NoClientCertificate,
}

pub(crate) fn new(settings: &Settings) -> Result<Agent, AgentError> {
    let url = &settings.url;
    let uri: Uri = url.parse().map_err(|source| {
        let url = url.clone();
        AgentError::Url { url, source }
    })?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        let reason = format!("{url:?} is no http:// or https:// address");
        return Err(InvalidSetting::new("url", reason).into());
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        let reason =
            "a user and a password have no place in it; set `headers: {Authorization: ...}`";
        return Err(InvalidSetting::new("url", reason).into());
    }
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    // An IPv6 address without a port ends with a bracket.
    if port.is_some_and(|port| !port.ends_with(']') && !is_port(port)) {
        let reason = format!("the port of {url:?} is no number from 1 to 65535");
        return Err(InvalidSetting::new("url", reason).into());
    }
    at_least("timeout", settings.timeout, 1)?;
    check_headers(settings)?;
    let timeout = Some(Duration::from_secs(settings.timeout));
    let idle = if settings.keep_alive { 1 } else { 0 };
    let config = Agent::config_builder()
        .tls_config(tls(settings, uri.scheme_str() == Some("https"))?)
        .timeout_global(timeout)
        .http_status_as_error(false)
        // After a redirect a POST becomes a GET, which has no body: the alert would be lost.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(idle)
        .max_idle_connections_per_host(idle)
        .user_agent(&settings.user_agent)
        .build();
    Ok(config.new_agent())
}

/// What a request cannot have is an error of the first request otherwise, which would be tried for ever.
fn check_headers(settings: &Settings) -> Result<(), InvalidSetting> {
    for (name, value) in &settings.headers {
        if HeaderName::try_from(name).is_err() {
            let reason = format!("{name:?} is no name of a header");
            return Err(InvalidSetting::new("headers", reason));
        }
        let is_framing = |own: &&str| name.eq_ignore_ascii_case(own);
        if ["content-length", "transfer-encoding"]
            .iter()
            .any(is_framing)
        {
            let reason = format!("{name:?} follows from the alerts of a request; remove it");
            return Err(InvalidSetting::new("headers", reason));
        }
        if HeaderValue::try_from(value).is_err() {
            // The value may be a secret.
            let reason = format!("the value of {name:?} has characters that a header cannot have");
            return Err(InvalidSetting::new("headers", reason));
        }
    }
    if HeaderValue::try_from(&settings.user_agent).is_err() {
        let reason = "it has characters that a header cannot have";
        return Err(InvalidSetting::new("user_agent", reason));
    }
    Ok(())
}

/// What is worth knowing about settings that can be used: a certificate that has expired, and files of `ca_path` that are
/// refused although they can have certificates.
pub(crate) fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if !settings.url.starts_with("https:") {
        return warnings;
    }
    if let (true, Some(chain), Some(key)) =
        (settings.mtls, &settings.client_cert, &settings.client_key)
    {
        warnings.extend(Identity::warning_of(chain, key));
    }
    let folder = settings.ca_path.iter().filter(|_| !settings.insecure);
    for entry in folder.flat_map(fs::read_dir).flatten().flatten() {
        if entry.path().is_file()
            && let Err(AgentError::File(refused @ FileError::NotTrusted { .. })) =
                certificates(&entry.path())
        {
            warnings.push(format!("`ca_path`: {refused}"));
        }
    }
    warnings
}

fn tls(settings: &Settings, https: bool) -> Result<TlsConfig, AgentError> {
    let mut tls = TlsConfig::builder().disable_verification(settings.insecure);
    match (settings.mtls, &settings.client_cert, &settings.client_key) {
        (false, ..) => {}
        (true, Some(chain), Some(key)) => {
            // ureq looks at them only when it connects
            Identity::read(chain, key)?;
            let key = PrivateKey::from_pem(&read(key)?).map_err(pem_error(key))?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&certificates(chain)?, key)));
        }
        (true, ..) => return Err(AgentError::NoClientCertificate),
    }
    if https && !settings.insecure {
        tls = tls.root_certs(RootCerts::new_with_certs(&roots(settings)?));
    }
    Ok(tls.build())
}

/// The certificates that the settings name, or those that this host trusts.
fn roots(settings: &Settings) -> Result<Vec<Certificate<'static>>, AgentError> {
    let mut roots = Vec::new();
    for file in [&settings.ca_cert, &settings.ca_bundle]
        .into_iter()
        .flatten()
    {
        roots.extend(certificates(file)?);
    }
    if let Some(folder) = &settings.ca_path {
        let mut refused = None;
        for entry in fs::read_dir(folder).map_err(list_error(folder))? {
            let file = entry.map_err(list_error(folder))?.path();
            if file.is_file() {
                match certificates(&file) {
                    Ok(found) => roots.extend(found),
                    // The folder can have other files, too.
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
        }
        if roots.is_empty() {
            let folder = folder.clone();
            return Err(match refused {
                Some(first) => AgentError::NoneOfFolder {
                    folder,
                    source: Box::new(first),
                },
                None => AgentError::EmptyFolder { folder },
            });
        }
    }
    let named =
        settings.ca_cert.is_some() || settings.ca_bundle.is_some() || settings.ca_path.is_some();
    if !named {
        let found = rustls_native_certs::load_native_certs();
        let found = found.certs.iter();
        roots.extend(found.map(|one| Certificate::from_der(one.as_ref()).to_owned()));
    }
    if roots.is_empty() {
        return Err(AgentError::NoRoots);
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, AgentError> {
    let mut found = Vec::new();
    for item in parse_pem(&read(file)?) {
        if let PemItem::Certificate(certificate) = item.map_err(pem_error(file))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        let file = file.to_owned();
        return Err(AgentError::NoCertificate { file });
    }
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>, AgentError> {
    Ok(files::read(file, MAX_PEM)?)
}

fn list_error(file: &Path) -> impl FnOnce(io::Error) -> AgentError {
    let file = file.to_owned();
    |source| AgentError::List { file, source }
}

fn pem_error(file: &Path) -> impl FnOnce(ureq::Error) -> AgentError {
    let file = file.to_owned();
    |source| AgentError::Pem { file, source }
}
