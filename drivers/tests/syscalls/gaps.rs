//! The differences that are known and have a reason. One that does not occur any more is a failure.

/// A known difference.
#[derive(Debug)]
pub(crate) struct Gap {
    /// The driver; empty: every driver.
    pub(crate) driver: &'static str,
    /// The ABI's name; empty: every one.
    pub(crate) abi: &'static str,
    /// The call.
    pub(crate) call: &'static str,
    /// The parameter, fact or part of the header; empty: whatever is different.
    pub(crate) what: &'static str,
    /// Why.
    pub(crate) reason: &'static str,
}

/// All of them.
pub(crate) const GAPS: &[Gap] = &[];

impl Gap {
    /// Whether it is about this difference.
    pub(crate) fn covers(&self, driver: &str, abi: &str, call: &str, what: &str) -> bool {
        (self.driver.is_empty() || self.driver == driver)
            && (self.abi.is_empty() || self.abi == abi)
            && self.call == call
            && (self.what.is_empty() || self.what == what)
    }
}
