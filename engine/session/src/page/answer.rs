//! Responses, and the headers that bind a browser: it runs no script but the page's, asks no other host, and shows the page
//! in no other page.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::access::Denied;

/// Nothing from elsewhere, no script in the page's text, no text that becomes a script or markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Headers of every answer.
const HEADERS: [(HeaderName, &str); 8] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    // the server ends connections after a while: none is to end in the middle of an answer that waits
    (CONNECTION, "close"),
];

fn with(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A file of the page.
pub(super) fn file(kind: &'static str, text: &'static str) -> Response<Full<Bytes>> {
    with(StatusCode::OK, kind, text)
}

/// A document that is JSON already.
pub(super) fn document(json: String) -> Response<Full<Bytes>> {
    with(StatusCode::OK, "application/json", json)
}

/// Facts.
pub(super) fn json(facts: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string(facts) {
        Ok(text) => document(text),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Why there are none.
pub(super) fn problem(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    with(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// Why there is no answer.
pub(super) fn denied(denied: Denied) -> Response<Full<Bytes>> {
    match denied {
        Denied::Host => problem(
            StatusCode::MISDIRECTED_REQUEST,
            "this page answers to addresses, to localhost, and to the names in webserver.page.hosts",
        ),
        Denied::Site => problem(StatusCode::FORBIDDEN, "another site asks for this"),
        Denied::Token => {
            let mut response =
                problem(StatusCode::UNAUTHORIZED, "this needs the token of the page");
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
            response
        }
        Denied::Busy => {
            let mut response = problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many pages wait for alerts",
            );
            let seconds = HeaderValue::from_static("5");
            response.headers_mut().insert(RETRY_AFTER, seconds);
            response
        }
    }
}
