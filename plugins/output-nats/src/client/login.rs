//! Who the client is: a user, a token, or a credentials file, whose key signs what the server asks for.

use std::fmt;
use std::path::{Path, PathBuf};

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use lanner_plugin::files::{self, FileError};
use ring::signature::Ed25519KeyPair;

use crate::Settings;

/// The largest file of credentials that is read, in bytes.
const MAX_CREDENTIALS: u64 = 1 << 16;

/// The first 5 bits of a seed (`S`), and the 8 bits after them that make it the seed of a user (`U`): github.com/nats-io/nkeys.
const SEED: u8 = 18 << 3;
const USER: u8 = 20 << 3;

/// The client cannot say who it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} is no credentials file: {reason}", file.display())]
    NoCredentials { file: PathBuf, reason: &'static str },
    #[error("`user` and `password` go together; set both or neither")]
    HalfOfUser,
    #[error("`user`, `token` and `credentials_file` exclude each other; set one of them")]
    ManyUsers,
}

/// Who the client is.
pub(crate) enum Login {
    Nobody,
    User {
        name: String,
        password: String,
    },
    Token(String),
    Credentials {
        jwt: String,
        key: Box<Ed25519KeyPair>,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::User { .. } => "User",
            Self::Token(_) => "Token",
            Self::Credentials { .. } => "Credentials",
        })
    }
}

impl Login {
    pub(crate) fn new(settings: &Settings) -> Result<Self, LoginError> {
        let user = match (&settings.user, &settings.password) {
            (None, None) => None,
            (Some(name), Some(password)) => Some((name, password)),
            (Some(_), None) | (None, Some(_)) => return Err(LoginError::HalfOfUser),
        };
        match (user, &settings.token, &settings.credentials_file) {
            (None, None, None) => Ok(Self::Nobody),
            (Some((name, password)), None, None) => Ok(Self::User {
                name: name.clone(),
                password: password.clone(),
            }),
            (None, Some(token), None) => Ok(Self::Token(token.clone())),
            (None, None, Some(file)) => Self::from_file(file),
            _ => Err(LoginError::ManyUsers),
        }
    }

    fn from_file(file: &Path) -> Result<Self, LoginError> {
        let text = files::read_text(file, MAX_CREDENTIALS)?;
        let failed = |reason| LoginError::NoCredentials {
            file: file.to_owned(),
            reason,
        };
        let jwt = section(&text, "NATS USER JWT").ok_or_else(|| failed("it has no user JWT"))?;
        let seed =
            section(&text, "USER NKEY SEED").ok_or_else(|| failed("it has no seed of a key"))?;
        let key = key(seed).ok_or_else(|| failed("its seed is damaged, or is not a user's"))?;
        Ok(Self::Credentials {
            jwt: jwt.to_owned(),
            key: Box::new(key),
        })
    }

    /// The members of `CONNECT` that say who the client is. It signs the server's `nonce`.
    pub(crate) fn members(&self, nonce: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::Nobody => Vec::new(),
            Self::User { name, password } => {
                vec![("user", name.clone()), ("pass", password.clone())]
            }
            Self::Token(token) => vec![("auth_token", token.clone())],
            Self::Credentials { jwt, key } => {
                let signature = BASE64URL_NOPAD.encode(key.sign(nonce.as_bytes()).as_ref());
                vec![("jwt", jwt.clone()), ("sig", signature)]
            }
        }
    }
}

/// The text between the lines `-----BEGIN NAME-----` and `------END NAME------`.
fn section<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let is_border = |line: &str, word: &str| {
        let line = line.trim();
        line.starts_with("---") && line.trim_matches('-') == format!("{word} {name}")
    };
    let mut lines = text.lines().skip_while(|line| !is_border(line, "BEGIN"));
    let inside = lines.nth(1)?.trim();
    is_border(lines.next()?, "END").then_some(inside)
}

/// The key of a seed: in base 32, two bytes that say what it is, 32 bytes, and their checksum.
fn key(seed: &str) -> Option<Ed25519KeyPair> {
    let bytes = BASE32_NOPAD.decode(seed.as_bytes()).ok()?;
    let (bytes, sum) = bytes.split_last_chunk::<2>()?;
    let (what, seed) = bytes.split_first_chunk::<2>()?;
    let is_users = what[0] & 0xf8 == SEED && what[0] << 5 | what[1] >> 3 == USER;
    let fits = crc16(bytes) == u16::from_le_bytes(*sum);
    (is_users && fits)
        .then(|| Ed25519KeyPair::from_seed_unchecked(seed).ok())
        .flatten()
}

/// The checksum of a key: CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| {
            if sum & 0x8000 == 0 {
                sum << 1
            } else {
                sum << 1 ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests;
