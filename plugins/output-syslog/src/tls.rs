//! TLS (RFC 5425): which certificates to trust, and which one to show.

use std::path::Path;
use std::sync::Arc;

use lanner_plugin::tls::{self, Identity};
use rustls::{ClientConfig, RootCertStore};

use crate::Settings;

/// TLS cannot be set up with these settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    File(#[from] tls::TlsError),
    #[error("cannot use the certificate of `client_cert`")]
    Certificate(#[source] rustls::Error),
    #[error("there is no certificate to check the receiver's by; set `ca_cert`")]
    NoRoots,
    #[error("`client_cert` and `client_key` go together; set both or neither")]
    HalfOfClient,
    #[error("this build cannot speak TLS 1.2 or later")]
    Protocol(#[source] rustls::Error),
}

/// What all connections to a receiver share.
pub(crate) fn client(settings: &Settings) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?
        .with_root_certificates(roots(settings.ca_cert.as_deref())?);
    let config = match (&settings.client_cert, &settings.client_key) {
        (None, None) => config.with_no_client_auth(),
        (Some(chain), Some(key)) => {
            let identity = Identity::read(chain, key)?;
            config
                .with_client_auth_cert(identity.chain, identity.key)
                .map_err(TlsError::Certificate)?
        }
        (Some(_), None) | (None, Some(_)) => return Err(TlsError::HalfOfClient),
    };
    Ok(Arc::new(config))
}

/// What is worth knowing about settings that can be used.
pub(crate) fn warnings(settings: &Settings) -> Vec<String> {
    let (true, Some(chain), Some(key)) = (
        settings.address.starts_with("tls://"),
        &settings.client_cert,
        &settings.client_key,
    ) else {
        return Vec::new();
    };
    Identity::warning_of(chain, key).into_iter().collect()
}

/// The certificates of a file, or those that this host trusts.
fn roots(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    if let Some(file) = file {
        return Ok(tls::roots(file)?);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(roots)
}
