//! Who may see the page.
//!
//! Alerts show what programs of all users do, so another user of the same host is a stranger, too. A Unix socket keeps
//! strangers out. Elsewhere, a request for facts needs a token, unless the configuration opens the page to all users of this
//! host.
//!
//! A browser also sends requests of other sites. A site may make its own name resolve to this host (DNS rebinding), so that
//! the browser takes lanner for that site. So a request must name an address, `localhost`, or a host of the configuration.
//! The browser also says, in `Sec-Fetch-Site`, that a request is another site's; it gets no facts.

use std::io;
use std::net::IpAddr;

use hyper::Request;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};

use super::ListenAddress;
use crate::config::PageConfig;
use crate::error::WebError;

/// Random bytes of a token that lanner makes.
const RANDOM: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Access {
    token: Option<Token>,
    /// The token is in the configuration: the user knows it.
    is_configured: bool,
    hosts: Vec<String>,
}

/// What opens the page.
struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Token {
    /// A random token, from getrandom(2).
    fn random() -> io::Result<Self> {
        let mut bytes = [0_u8; RANDOM];
        // SAFETY: the kernel writes at most as many bytes as there are.
        let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        if usize::try_from(got) != Ok(bytes.len()) {
            return Err(io::Error::last_os_error());
        }
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        Ok(Self(digits.collect()))
    }

    /// Takes as long for a wrong one as for the right one.
    fn is(&self, other: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differs = own.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
        own.len() == other.len() && std::hint::black_box(differs) == 0
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// The browser asked by a name that is not known.
    Host,
    /// Another site wants the facts.
    Site,
    /// There is no token, or a wrong one.
    Token,
    /// Too many answers wait.
    Busy,
}

impl Access {
    pub(super) fn new(settings: &PageConfig, listens_at: &ListenAddress) -> Result<Self, WebError> {
        let token = match (&settings.token, listens_at) {
            (Some(token), _) => Some(Token(token.clone())),
            (None, ListenAddress::Unix(_)) => None,
            (None, ListenAddress::Tcp(address)) if !address.ip().to_canonical().is_loopback() => {
                return Err(WebError::Open(*address));
            }
            (None, ListenAddress::Tcp(_)) if settings.open => None,
            (None, ListenAddress::Tcp(_)) => Some(Token::random().map_err(WebError::Random)?),
        };
        Ok(Self {
            token,
            is_configured: settings.token.is_some(),
            hosts: settings.hosts.clone(),
        })
    }

    /// Where a user finds the page, and how to get in.
    pub(super) fn invitation(&self, listens_at: &ListenAddress) -> String {
        match listens_at {
            ListenAddress::Unix(path) => format!(
                "page: at the socket {0}; from elsewhere: ssh -L 8765:{0} HOST, and then http://localhost:8765/",
                path.display()
            ),
            // What follows the # stays in the browser.
            ListenAddress::Tcp(address) => match &self.token {
                Some(token) if !self.is_configured => {
                    format!("page: http://{address}/#token={}", token.0)
                }
                Some(_) => format!("page: http://{address}/ (asks for webserver.page.token)"),
                None => format!("page: http://{address}/ (open to all users of this host)"),
            },
        }
    }

    /// Whether the browser asks by a name that the page answers to.
    pub(super) fn named<B>(&self, request: &Request<B>) -> Result<(), Denied> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Denied::Host);
        };
        let host = host.to_str().map_err(|_| Denied::Host)?;
        // a request to a proxy has another name in its first line
        let asked = request.uri().authority().map_or(host, |name| name.as_str());
        if self.is_known(host) && self.is_known(asked) {
            Ok(())
        } else {
            Err(Denied::Host)
        }
    }

    fn is_known(&self, authority: &str) -> bool {
        let name = match authority.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((name, port)) if port.is_empty() || port.starts_with(':') => name,
                _ => return false,
            },
            None => authority
                .split_once(':')
                .map_or(authority, |(name, _)| name),
        };
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || (self.hosts.iter()).any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether who asks may see facts.
    pub(super) fn facts<B>(&self, request: &Request<B>) -> Result<(), Denied> {
        let site = request.headers().get("sec-fetch-site");
        if site.is_some_and(|site| site != "same-origin" && site != "none") {
            return Err(Denied::Site);
        }
        let Some(token) = &self.token else {
            return Ok(());
        };
        let shown = request.headers().get(AUTHORIZATION);
        let shown = shown.map(HeaderValue::as_bytes);
        match shown.and_then(|shown| shown.strip_prefix(b"Bearer ")) {
            Some(shown) if token.is(shown) => Ok(()),
            _ => Err(Denied::Token),
        }
    }
}
