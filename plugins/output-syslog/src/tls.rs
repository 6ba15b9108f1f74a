//! TLS (RFC 5425): which certificates to trust, and which one to show.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanner_plugin::files::{self, FileError};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::Settings;

/// The largest file that is read, in bytes.
const MAX_PEM: u64 = 16 << 20;

/// TLS cannot be set up with these settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot read the PEM file {}", file.display())]
    Pem { file: PathBuf, source: pem::Error },
    #[error("there is no certificate in {}", file.display())]
    NoCertificate { file: PathBuf },
    #[error("cannot use the certificates of {}", file.display())]
    Certificate {
        file: PathBuf,
        source: rustls::Error,
    },
    #[error("there is no certificate to check the receiver's by; set `ca_cert`")]
    NoRoots,
    #[error("`client_cert` and `client_key` go together; set both or neither")]
    HalfOfClient,
    #[error("this build cannot speak TLS 1.2 or later")]
    Protocol(#[source] rustls::Error),
}

/// What all connections to a receiver share.
pub(crate) fn client(settings: &Settings) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?
        .with_root_certificates(roots(settings.ca_cert.as_deref())?);
    let config = match (&settings.client_cert, &settings.client_key) {
        (None, None) => config.with_no_client_auth(),
        (Some(chain), Some(key_file)) => {
            let key = PrivateKeyDer::from_pem_slice(&files::read(key_file, MAX_PEM)?)
                .map_err(pem_error(key_file))?;
            config
                .with_client_auth_cert(certificates(chain)?, key)
                .map_err(certificate_error(chain))?
        }
        (Some(_), None) | (None, Some(_)) => return Err(TlsError::HalfOfClient),
    };
    Ok(Arc::new(config))
}

/// The certificates of a file, or those that this host trusts.
fn roots(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(certificate_error(file))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&files::read(file, MAX_PEM)?).collect();
    let found = found.map_err(pem_error(file))?;
    if found.is_empty() {
        let file = file.to_owned();
        return Err(TlsError::NoCertificate { file });
    }
    Ok(found)
}

fn pem_error(file: &Path) -> impl FnOnce(pem::Error) -> TlsError {
    let file = file.to_owned();
    |source| TlsError::Pem { file, source }
}

fn certificate_error(file: &Path) -> impl FnOnce(rustls::Error) -> TlsError {
    let file = file.to_owned();
    |source| TlsError::Certificate { file, source }
}
