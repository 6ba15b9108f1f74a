//! How requests are made: certificates, deadlines, connections.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lanner_plugin::Error;
use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::Settings;

pub(crate) fn new(settings: &Settings) -> Result<Agent, Error> {
    let url = &settings.url;
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("`url`: {url:?}: {error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(format!("`url`: {url:?} is no http:// or https:// address").into());
    }
    if settings.timeout == 0 {
        return Err("`timeout` is at least 1".into());
    }
    let timeout = Some(Duration::from_secs(settings.timeout));
    let idle = if settings.keep_alive { 1 } else { 0 };
    let config = Agent::config_builder()
        .tls_config(tls(settings, uri.scheme_str() == Some("https"))?)
        .timeout_global(timeout)
        .http_status_as_error(false)
        // A redirected POST becomes a GET, and the alert is gone.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(idle)
        .max_idle_connections_per_host(idle)
        .user_agent(&settings.user_agent)
        .build();
    Ok(config.new_agent())
}

fn tls(settings: &Settings, needed: bool) -> Result<TlsConfig, Error> {
    let mut tls = TlsConfig::builder().disable_verification(settings.insecure);
    match (settings.mtls, &settings.client_cert, &settings.client_key) {
        (false, ..) => {}
        (true, Some(chain), Some(key)) => {
            let key = PrivateKey::from_pem(&read(key)?).map_err(|error| about(key, error))?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&certificates(chain)?, key)));
        }
        (true, ..) => return Err("`mtls` needs `client_cert` and `client_key`".into()),
    }
    if needed && !settings.insecure {
        tls = tls.root_certs(RootCerts::new_with_certs(&roots(settings)?));
    }
    Ok(tls.build())
}

fn roots(settings: &Settings) -> Result<Vec<Certificate<'static>>, Error> {
    let mut roots = Vec::new();
    for file in [&settings.ca_cert, &settings.ca_bundle]
        .into_iter()
        .flatten()
    {
        roots.extend(certificates(file)?);
    }
    if let Some(folder) = &settings.ca_path {
        for entry in fs::read_dir(folder).map_err(|error| about(folder, error))? {
            let file = entry.map_err(|error| about(folder, error))?.path();
            if file.is_file() {
                // Other things lie there, too.
                roots.extend(certificates(&file).unwrap_or_default());
            }
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
        return Err("there is no certificate to check the receiver's by; set `ca_cert`".into());
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let mut found = Vec::new();
    for item in parse_pem(&read(file)?) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| about(file, error))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(about(file, "there is no certificate in it"));
    }
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|error| about(file, error))
}

fn about(file: &Path, error: impl std::fmt::Display) -> Error {
    format!("{}: {error}", file.display()).into()
}
