//! The C functions of an output plugin, which call its [`OutputPlugin`].

use std::ffi::c_void;
use std::marker::PhantomData;

use crate::abi::{
    LannerBatch, LannerHost, LannerOutputPlugin, LannerStatus, LannerStr, LannerText,
    STATUS_GIVE_UP, STATUS_OK, STATUS_TRY_AGAIN,
};
use crate::border::{
    CallError, State, close, guard, say, schema, settings as read_settings, with_state,
};
use crate::host::Host;
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
    };
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
            let (Some(batch), Some(count)) = (batch.as_ref(), delivered.as_mut()) else {
                return Err(CallError::MissingArgument {
                    function: "emit",
                    argument: "a batch or a count",
                }
                .into());
            };
            *count = 0;
            let (status, done, reason) = match plugin.emit(&Alerts::from_abi(batch)) {
                Delivery::Delivered => (STATUS_OK, batch.count, None),
                Delivery::TryAgain { delivered, reason } => {
                    (STATUS_TRY_AGAIN, delivered, Some(reason))
                }
                Delivery::GiveUp { delivered, reason } => (STATUS_GIVE_UP, delivered, Some(reason)),
            };
            *count = done.min(batch.count);
            if let Some(reason) = reason {
                say(error, &reason);
            }
            Ok(status)
        })
    }
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
