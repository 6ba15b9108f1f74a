//! The C functions of an output plugin, which call its [`OutputPlugin`].

use std::ffi::c_void;
use std::marker::PhantomData;

use crate::abi::{
    LannerBatch, LannerHost, LannerOutputPlugin, LannerStatus, LannerStr, LannerText,
    STATUS_GIVE_UP, STATUS_GO_ON, STATUS_OK, STATUS_TRY_AGAIN,
};
use crate::border::{
    CallError, State, close, guard, say, schema, settings as read_settings, with_state,
};
use crate::host::{Host, Level};
use crate::output::{Alerts, Delivery, OutputPlugin};

/// The function table of `P`. Created by [`export_plugin!`](crate::export_plugin).
#[derive(Debug)]
pub struct OutputTable<P>(PhantomData<P>);

impl<P: OutputPlugin> OutputTable<P> {
    /// The table.
    pub const TABLE: LannerOutputPlugin = LannerOutputPlugin {
        size: size_of::<LannerOutputPlugin>(),
        open: Some(open::<P>),
        emit: Some(emit::<P>),
        flush: Some(flush::<P>),
        reopen: Some(reopen::<P>),
        close: Some(close::<P>),
        schema: Some(schema::<P::Settings>),
        check: Some(check::<P>),
    };
}

unsafe extern "C" fn check<P: OutputPlugin>(
    host: *const LannerHost,
    settings: LannerStr,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        guard(error, || {
            let settings = read_settings(settings.as_bytes())?;
            P::check(&settings)?;
            let warnings = P::warnings(&settings);
            if let Some(host) = Host::from_abi(host) {
                for warning in warnings {
                    host.log(Level::Warn, &warning);
                }
            }
            Ok(STATUS_OK)
        })
    }
}

unsafe extern "C" fn open<P: OutputPlugin>(
    host: *const LannerHost,
    settings: LannerStr,
    state: *mut *mut c_void,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        guard(error, || {
            let Some(host) = Host::from_abi(host) else {
                return Err(CallError::MissingArgument {
                    function: "open",
                    argument: "a host",
                }
                .into());
            };
            let plugin = P::open(host, read_settings(settings.as_bytes())?)?;
            *state = State::store(plugin);
            Ok(STATUS_OK)
        })
    }
}

unsafe extern "C" fn emit<P: OutputPlugin>(
    state: *mut c_void,
    batch: *const LannerBatch,
    delivered: *mut usize,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        with_state(state, error, |plugin: &mut P| {
            let (false, Some(count)) = (batch.is_null(), delivered.as_mut()) else {
                return Err(CallError::MissingArgument {
                    function: "emit",
                    argument: "a batch or a count",
                }
                .into());
            };
            *count = 0;
            let alerts = Alerts::from_abi(batch);
            let (status, done, reason) = match plugin.emit(&alerts) {
                Delivery::Delivered => (STATUS_OK, alerts.len(), None),
                Delivery::TryAgain { delivered, reason } => {
                    (STATUS_TRY_AGAIN, delivered, Some(reason))
                }
                Delivery::GiveUp { delivered, reason } => (STATUS_GIVE_UP, delivered, Some(reason)),
                Delivery::GoOn {
                    delivered,
                    refused,
                    reason,
                } => {
                    let delivered = delivered.min(alerts.len());
                    let refused = refused.min(alerts.len() - delivered);
                    match refused_count(batch) {
                        Some(count) => {
                            *count = refused;
                            (STATUS_GO_ON, delivered, Some(reason))
                        }
                        None => older_host(delivered + refused, alerts.len(), reason),
                    }
                }
            };
            *count = done.min(alerts.len());
            if let Some(reason) = reason {
                say(error, &reason);
            }
            Ok(status)
        })
    }
}

/// Where a host since 1.4 wants the number of refused alerts.
///
/// # Safety
///
/// `batch` is as the header describes it.
unsafe fn refused_count<'a>(batch: *const LannerBatch) -> Option<&'a mut usize> {
    // SAFETY: by the function's contract. The field is there if the size covers it.
    unsafe {
        if (*batch).size < size_of::<LannerBatch>() {
            return None;
        }
        (*batch).refused.as_mut()
    }
}

/// [`Delivery::GoOn`] for a host that does not know it.
fn older_host(done: usize, all: usize, reason: String) -> (LannerStatus, usize, Option<String>) {
    if done == all {
        return (STATUS_OK, done, None);
    }
    let reason = if reason.is_empty() {
        "the output has more to do than fits into one call".to_owned()
    } else {
        reason
    };
    (STATUS_TRY_AGAIN, done, Some(reason))
}

unsafe extern "C" fn flush<P: OutputPlugin>(
    state: *mut c_void,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        with_state(state, error, |plugin: &mut P| {
            plugin.flush().map(|()| STATUS_OK)
        })
    }
}

unsafe extern "C" fn reopen<P: OutputPlugin>(
    state: *mut c_void,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        with_state(state, error, |plugin: &mut P| {
            plugin.reopen().map(|()| STATUS_OK)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refuser(usize);

    impl OutputPlugin for Refuser {
        type Settings = ();

        fn open(_host: Host, _settings: ()) -> Result<Self, crate::Error> {
            Ok(Self(0))
        }

        fn emit(&mut self, _alerts: &Alerts<'_>) -> Delivery {
            Delivery::GoOn {
                delivered: 1,
                refused: self.0,
                reason: "no".to_owned(),
            }
        }
    }

    /// What a host of a size gets: the status, and the numbers of delivered and refused alerts.
    fn answer(refuses: usize, size: usize) -> (LannerStatus, usize, usize) {
        let alerts = [std::ptr::null(); 3];
        let (mut delivered, mut refused) = (0, 0);
        let batch = LannerBatch {
            size,
            alerts: alerts.as_ptr(),
            count: alerts.len(),
            refused: &raw mut refused,
        };
        let state = State::store(Refuser(refuses));
        // SAFETY: the state is open, and all pointers live through the call. The plugin does not look at the alerts.
        let status = unsafe {
            let (batch, delivered) = (&raw const batch, &raw mut delivered);
            let status = emit::<Refuser>(state, batch, delivered, std::ptr::null());
            close::<Refuser>(state);
            status
        };
        (status, delivered, refused)
    }

    #[test]
    fn refused_alerts_are_told_apart_and_an_older_host_offers_the_rest_again() {
        let now = size_of::<LannerBatch>();
        assert_eq!(answer(1, now), (STATUS_GO_ON, 1, 1));
        assert_eq!(answer(9, now), (STATUS_GO_ON, 1, 2));
        assert_eq!(answer(1, LannerBatch::FIRST_SIZE), (STATUS_TRY_AGAIN, 2, 0));
        assert_eq!(answer(2, LannerBatch::FIRST_SIZE), (STATUS_OK, 3, 0));
    }
}
