//! Certificates for tests of TLS, as PEM files: an authority's own (`ca.pem`), and those that it signs.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// A certificate authority with a temporary folder for its files.
#[derive(Debug)]
pub struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Makes a new authority and writes `ca.pem`.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        fs::write(folder.path().join("ca.pem"), pem).unwrap();
        let issuer = Issuer::new(params, key);
        Self { folder, issuer }
    }

    /// The folder with the files. It is removed with the authority.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of a file in the folder: `ca.pem`, `NAME.pem`, `NAME.key`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Makes a key and signs a certificate of it for `localhost`: `NAME.key` and `NAME.pem`. Replaces older files.
    pub fn sign(&self, name: &str) {
        self.sign_until(name, false);
    }

    /// Like [`Self::sign`], but the certificate expired in 2021.
    pub fn sign_expired(&self, name: &str) {
        self.sign_until(name, true);
    }

    fn sign_until(&self, name: &str, expired: bool) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        fs::write(self.path(&format!("{name}.pem")), pem).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}
