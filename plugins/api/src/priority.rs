//! How serious an alert is: the eight levels of syslog with Falco's names.

use std::fmt;
use std::str::FromStr;

/// The priority of a rule and its alerts. A smaller number is more serious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Priority {
    /// 0
    Emergency = 0,
    /// 1
    Alert = 1,
    /// 2
    Critical = 2,
    /// 3
    Error = 3,
    /// 4
    Warning = 4,
    /// 5
    Notice = 5,
    /// 6
    Informational = 6,
    /// 7
    Debug = 7,
}

impl Priority {
    /// All priorities, the most serious first.
    pub const ALL: [Self; 8] = [
        Self::Emergency,
        Self::Alert,
        Self::Critical,
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Informational,
        Self::Debug,
    ];

    /// The name, as in alerts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Emergency => "Emergency",
            Self::Alert => "Alert",
            Self::Critical => "Critical",
            Self::Error => "Error",
            Self::Warning => "Warning",
            Self::Notice => "Notice",
            Self::Informational => "Informational",
            Self::Debug => "Debug",
        }
    }

    /// The priority with this number, if it is 0 to 7.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is not the name of a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a priority; choose one of Emergency, Alert, Critical, Error, Warning, Notice, Informational, \
     Debug"
)]
pub struct UnknownPriority;

impl FromStr for Priority {
    type Err = UnknownPriority;

    /// Accepts the names in any case, and `Info`.
    fn from_str(text: &str) -> Result<Self, UnknownPriority> {
        if text.eq_ignore_ascii_case("info") {
            return Ok(Self::Informational);
        }
        Self::ALL
            .into_iter()
            .find(|priority| priority.name().eq_ignore_ascii_case(text))
            .ok_or(UnknownPriority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_the_priority() {
        for priority in Priority::ALL {
            assert_eq!(priority.name().parse(), Ok(priority));
            assert_eq!(priority.name().to_uppercase().parse(), Ok(priority));
            assert_eq!(Priority::from_number(priority as u32), Some(priority));
        }
        assert_eq!("INFO".parse(), Ok(Priority::Informational));
        assert_eq!("warn".parse::<Priority>(), Err(UnknownPriority));
        assert_eq!(Priority::from_number(8), None);
    }
}
