//! TLS for clients (feature `tls`): certificates and keys from PEM files, and the handshake. A key that does not fit its
//! certificate, or a certificate that is no longer valid, is known before the first connection.

use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, Error, InconsistentKeys, RootCertStore, StreamOwned};

use crate::deadline::Deadline;
use crate::files::{self, FileError};

/// The largest file that is read, in bytes.
const MAX_PEM: u64 = 16 << 20;

/// Why a certificate or a key cannot be used. The text names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read, or another user can change it.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no PEM file.
    #[error("cannot read the PEM file {}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// It has no certificate.
    #[error("there is no certificate in {}", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// It has no private key.
    #[error("there is no private key in {}", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// The key is that of another certificate.
    #[error(
        "the key in {} is not that of the first certificate in {}; name the key that this certificate was made for",
        key.display(), chain.display()
    )]
    OtherKey {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        chain: PathBuf,
    },
    /// It cannot be used for TLS.
    #[error("cannot use the certificates of {}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: Error,
    },
    /// This host trusts no certificates.
    #[error("there is no certificate to check the receiver's by; set `ca_cert`")]
    NoRoots,
    /// One of the two is missing.
    #[error("`client_cert` and `client_key` go together; set both or neither")]
    HalfOfClient,
    /// The cryptography of this build supports neither TLS 1.2 nor TLS 1.3.
    #[error("this build cannot speak TLS 1.2 or later")]
    Protocol(#[source] Error),
}

/// How a client speaks TLS. It checks the receiver's certificate by those of `ca_cert`, or by those that this host trusts. It
/// shows the certificate of `client_cert`, whose key is `client_key`. Errors use these names, so a plugin should give its
/// settings the same ones.
///
/// # Errors
///
/// A file cannot be used, or one of `client_cert` and `client_key` is missing.
pub fn client(
    ca_cert: Option<&Path>,
    client_cert: Option<&Path>,
    client_key: Option<&Path>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match ca_cert {
        Some(file) => roots(file)?,
        None => roots_of_the_host()?,
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?
        .with_root_certificates(roots);
    let config = match (client_cert, client_key) {
        (None, None) => config.with_no_client_auth(),
        (Some(chain), Some(key)) => {
            let identity = Identity::read(chain, key)?;
            config
                .with_client_auth_cert(identity.chain, identity.key)
                .map_err(|source| TlsError::Unusable {
                    file: chain.to_owned(),
                    source,
                })?
        }
        (Some(_), None) | (None, Some(_)) => return Err(TlsError::HalfOfClient),
    };
    Ok(Arc::new(config))
}

/// Why TLS cannot begin on a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// The configuration cannot be used for a connection.
    #[error("cannot begin TLS")]
    Begin(#[source] Error),
    /// The receiver refuses, is not the one that it should be, ends the connection, or is too slow.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
}

/// Begins TLS on a connection as its client. `name` is what the receiver's certificate must be for.
///
/// # Errors
///
/// The handshake fails, or is not over at the deadline.
pub fn begin(
    stream: TcpStream,
    name: &ServerName<'static>,
    config: Arc<ClientConfig>,
    deadline: Deadline,
) -> Result<StreamOwned<ClientConnection, TcpStream>, BeginError> {
    let connection = ClientConnection::new(config, name.clone()).map_err(BeginError::Begin)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut socket = deadline.on(&mut stream.sock);
    while stream.conn.is_handshaking() {
        let more = stream.conn.complete_io(&mut socket);
        more.map_err(BeginError::Handshake)?;
    }
    Ok(stream)
}

fn roots_of_the_host() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(roots)
}

/// A certificate chain and the key of its first certificate.
#[derive(Debug)]
pub struct Identity {
    /// The certificates, that of the key first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
    file: PathBuf,
}

impl Identity {
    /// Reads a chain and a key, and checks that they fit.
    ///
    /// # Errors
    ///
    /// A file cannot be read, has something else in it, or the key is that of another certificate.
    pub fn read(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let certificates = certificates(chain)?;
        let found = PrivateKeyDer::from_pem_slice(&files::read(key, MAX_PEM)?);
        let found = found.map_err(|source| match source {
            pem::Error::NoItemsFound => TlsError::NoKey {
                file: key.to_owned(),
            },
            source => TlsError::Pem {
                file: key.to_owned(),
                source,
            },
        })?;
        let provider = rustls::crypto::ring::default_provider();
        let fit = CertifiedKey::from_der(certificates.clone(), found.clone_key(), &provider);
        fit.map_err(|source| match source {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::OtherKey {
                key: key.to_owned(),
                chain: chain.to_owned(),
            },
            source => TlsError::Unusable {
                file: chain.to_owned(),
                source,
            },
        })?;
        Ok(Self {
            chain: certificates,
            key: found,
            file: chain.to_owned(),
        })
    }

    /// The [`warning`](Self::warning) about a chain and its key. `None`: there is none, or they cannot be used, for which
    /// [`read`](Self::read) has the reason.
    #[must_use]
    pub fn warning_of(chain: &Path, key: &Path) -> Option<String> {
        Self::read(chain, key).ok()?.warning()
    }

    /// That the certificate is not valid at the moment, if it is not. Peers will refuse it then.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let now = i64::try_from(now).ok()?;
        let (begin, end) = validity(self.chain.first()?)?;
        let file = self.file.display();
        if now > end.seconds {
            Some(format!(
                "the certificate in {file} expired on {}, and peers will refuse it; renew it",
                end.day
            ))
        } else if now < begin.seconds {
            Some(format!(
                "the certificate in {file} is not valid before {}, and peers will refuse it until then",
                begin.day
            ))
        } else {
            None
        }
    }
}

/// The certificates of a file: at least one.
///
/// # Errors
///
/// The file cannot be read, or has none.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = files::read(file, MAX_PEM)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read).collect();
    let found = found.map_err(|source| TlsError::Pem {
        file: file.to_owned(),
        source,
    })?;
    if found.is_empty() {
        let file = file.to_owned();
        return Err(TlsError::NoCertificate { file });
    }
    Ok(found)
}

/// The certificates of a file, as those that can have signed the peer's.
///
/// # Errors
///
/// As for [`certificates`]; or one of them is damaged.
pub fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Unusable {
                file: file.to_owned(),
                source,
            })?;
    }
    Ok(roots)
}

/// The cryptography that all plugins of lanner use.
#[must_use]
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A point of time in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Moment {
    /// Since 1970.
    seconds: i64,
    /// Such as `2021-01-31`.
    day: String,
}

/// From when to when a certificate is valid (RFC 5280, 4.1). None: it is damaged.
fn validity(certificate: &[u8]) -> Option<(Moment, Moment)> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let mut certificate = Der(certificate).inside(SEQUENCE)?;
    let mut signed = certificate.inside(SEQUENCE)?;
    if signed.0.first() == Some(&VERSION) {
        signed.next()?;
    }
    // serial number, algorithm, issuer
    for _ in 0..3 {
        signed.next()?;
    }
    let mut validity = signed.inside(SEQUENCE)?;
    Some((validity.time()?, validity.time()?))
}

/// Elements of DER (X.690), one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and its contents.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match *first {
            short @ 0..0x80 => (usize::from(short), rest),
            long => {
                let digits = usize::from(long & 0x7f);
                let (digits, rest) = rest.split_at_checked(digits)?;
                if digits.is_empty() || digits.len() > 4 {
                    return None;
                }
                let length = (digits.iter()).fold(0, |all, digit| all << 8 | usize::from(*digit));
                (length, rest)
            }
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, contents))
    }

    /// What is inside of the next element, if it has this tag.
    fn inside(&mut self, tag: u8) -> Option<Der<'a>> {
        let (found, contents) = self.next()?;
        (found == tag).then_some(Der(contents))
    }

    /// `UTCTime` or `GeneralizedTime`, both in UTC and with seconds.
    fn time(&mut self) -> Option<Moment> {
        const UTC_TIME: u8 = 0x17;
        const GENERALIZED_TIME: u8 = 0x18;
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: i64 = year.parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        if rest.len() != 10 {
            return None;
        }
        let two = |at: usize| rest[2 * at..2 * at + 2].parse::<i64>().ok();
        let (month, day) = (two(0)?, two(1)?);
        let of_day = two(2)? * 3600 + two(3)? * 60 + two(4)?;
        Some(Moment {
            seconds: days(year, month, day) * 86_400 + of_day,
            day: format!("{year:04}-{month:02}-{day:02}"),
        })
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Here a year begins in March: then February 29, which only leap years have, is its last day.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days from 0000-03-01 to 1970-01-01
    365 * year + leap + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        let length = u8::try_from(contents.len()).unwrap();
        let mut element = vec![tag];
        if length >= 0x80 {
            element.push(0x81);
        }
        element.push(length);
        element.extend_from_slice(contents);
        element
    }

    fn certificate(begin: &[u8], end: &[u8]) -> Vec<u8> {
        let (version, other) = (element(0xa0, &[1]), element(0x02, &[7; 50]));
        let validity = element(0x30, &[begin, end].concat());
        let signed = [version, other.clone(), other.clone(), other, validity].concat();
        element(0x30, &element(0x30, &signed))
    }

    #[test]
    fn the_days_of_a_certificate_are_read() {
        let utc = element(0x17, b"210131235959Z");
        let late = element(0x18, b"20500301000000Z");
        let (begin, end) = validity(&certificate(&utc, &late)).unwrap();
        assert_eq!(
            (begin.seconds, begin.day.as_str()),
            (1_612_137_599, "2021-01-31")
        );
        assert_eq!(
            (end.seconds, end.day.as_str()),
            (2_529_705_600, "2050-03-01")
        );
        for (year, month, day, expected) in [
            (1970, 1, 1, 0),
            (2000, 2, 29, 11_016),
            (1949, 12, 31, -7306),
        ] {
            assert_eq!(days(year, month, day), expected);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_days() {
        let whole = certificate(
            &element(0x17, b"210131235959Z"),
            &element(0x17, b"310131235959Z"),
        );
        assert!(validity(&whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(validity(&whole[..end]), None);
        }
        for wrong in [
            &b"21013123595Z"[..],
            b"21013123595xZ",
            b"210131235959",
            b"\xff\xff",
        ] {
            assert_eq!(validity(&certificate(&element(0x17, wrong), b"")), None);
        }
        for huge in [
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..],
            &[0x30, 0xff],
            &[0x30, 0x80],
        ] {
            assert_eq!(validity(huge), None);
        }
    }
}
