//! The bodies of requests.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::Batch;

/// The body of a request with these alerts, each a JSON object.
pub(crate) fn body(alerts: &[&str], batch: Batch, compress: bool) -> io::Result<Vec<u8>> {
    let text = match batch {
        Batch::None => alerts.concat(),
        Batch::Array => format!("[{}]", alerts.join(",")),
        Batch::Lines => alerts.iter().map(|alert| format!("{alert}\n")).collect(),
    };
    if !compress {
        return Ok(text.into_bytes());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}
