//! Values of arguments that have a form of their own.

use std::time::Duration;

use driver_api::request::{LimitError, Limits};
use session::config::Size;

/// A value is not what its argument needs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ValueError {
    #[error("{0:?} is not NAME=N, such as path=256")]
    NotALimit(String),
    #[error("{0:?} is no number")]
    NotANumber(String),
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error("a name begins with a letter and has at most 64 lower-case letters, digits and `-`")]
    PluginName,
    #[error(transparent)]
    Time(#[from] humantime::DurationError),
    #[error("a report needs some time, such as 1s")]
    NoTime,
    #[error("a power of two of at least 64K is needed, such as 1M or 8M")]
    Buffer,
}

/// `NAME=N`, which a limit can be.
pub(crate) fn limit(text: &str) -> Result<(String, u32), ValueError> {
    let pair = text.split_once('=');
    let (name, value) = pair.ok_or_else(|| ValueError::NotALimit(text.to_owned()))?;
    let number = value.parse();
    let number = number.map_err(|_| ValueError::NotANumber(value.to_owned()))?;
    Limits::default().set(name, number)?;
    Ok((name.to_owned(), number))
}

/// A name that fits plugins and crates alike.
pub(crate) fn plugin_name(text: &str) -> Result<String, ValueError> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.len() > 64
        || !text.bytes().all(good)
        || !text.starts_with(|first: char| first.is_ascii_lowercase())
        || text.ends_with('-')
    {
        return Err(ValueError::PluginName);
    }
    Ok(text.to_owned())
}

/// A time that passes between two reports.
pub(crate) fn interval(text: &str) -> Result<Duration, ValueError> {
    let time = humantime::parse_duration(text)?;
    if time.is_zero() {
        return Err(ValueError::NoTime);
    }
    Ok(time)
}

/// The size of a buffer, in bytes or with a unit.
pub(crate) fn bytes(text: &str) -> Result<usize, ValueError> {
    Size::parse(text)
        .and_then(|size| usize::try_from(size.0).ok())
        .filter(|number| number.is_power_of_two() && *number >= 1 << 16)
        .ok_or(ValueError::Buffer)
}
