//! Whom to trust, and what to show (RFC 5425).

use std::path::Path;
use std::sync::Arc;

use lanner_plugin::Error;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::Settings;

pub(crate) fn client(settings: &Settings) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    match &settings.ca_cert {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| about(path, error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err("there is no certificate to check the receiver's by; set `ca_cert`".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match (&settings.client_cert, &settings.client_key) {
        (None, None) => config.with_no_client_auth(),
        (Some(chain), Some(key)) => {
            let key_of = PrivateKeyDer::from_pem_file(key).map_err(|error| about(key, error))?;
            config
                .with_client_auth_cert(certificates(chain)?, key_of)
                .map_err(|error| about(chain, error))?
        }
        _ => return Err("`client_cert` and `client_key` go together".into()),
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| about(path, error))
}

fn about(path: &Path, error: impl std::fmt::Display) -> Error {
    format!("{}: {error}", path.display()).into()
}
