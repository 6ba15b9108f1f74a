//! Times and sizes, as people write them.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A time: `10s`, `5m`, `1h 30m`, `200ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

/// The longest time. A clock that is this far ahead can still be read.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A number of bytes: `4096`, `64K`, `64M`, `1G` (powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TimeText)
    }
}

struct TimeText;

impl de::Visitor<'_> for TimeText {
    type Value = Time;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a time with its unit, such as 10s or 5m")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
        let time = humantime::parse_duration(text)
            .map_err(|error| de::Error::custom(format!("{error}; a time is such as 10s or 5m")))?;
        if time > LONGEST {
            return Err(de::Error::custom("a time has at most 100 years"));
        }
        Ok(Time(time))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["10s", "5m", "200ms"] })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeText)
    }
}

struct SizeText;

impl de::Visitor<'_> for SizeText {
    type Value = Size;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a size such as 4096, 64K, 64M or 1G")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Size, E> {
        Ok(Size(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        Size::parse(text).ok_or_else(|| de::Error::custom("a size is such as 4096, 64K, 64M or 1G"))
    }
}

impl Size {
    /// A number of bytes, with or without a unit. `None`: it is something else, or too large.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (digits, shift) = match text.chars().last()?.to_ascii_uppercase() {
            'K' => (&text[..text.len() - 1], 10),
            'M' => (&text[..text.len() - 1], 20),
            'G' => (&text[..text.len() - 1], 30),
            _ => (text, 0),
        };
        let number = digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift);
        number.map(Self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 0, "examples": [4096, "64M"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_too_long_for_a_clock() {
        let time = |text: &str| serde_json::from_value::<Time>(text.into());
        assert!(time("100000000000years").is_err());
        assert!(time("36501days").is_err());
        let longest = time("36500days").unwrap();
        assert!(
            std::time::Instant::now()
                .checked_add(longest.0 * 5)
                .is_some()
        );
    }

    #[test]
    fn sizes() {
        let size = |text: &str| Size::parse(text).map(|size| size.0);
        assert_eq!(size("64"), Some(64));
        assert_eq!(size("64K"), Some(65536));
        assert_eq!(size("2 g"), Some(2 << 30));
        assert_eq!(size("99999999999G"), None);
        assert_eq!(size("M"), None);
        assert_eq!(size("64MB"), None);
    }
}
