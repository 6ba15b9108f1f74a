//! Numbers in the forms that parameters have.

use super::bytes::{signed, unsigned};
use super::table::Form;

/// A number of this form.
pub(crate) fn number(form: Form, value: &[u8]) -> Option<u64> {
    match form {
        Form::Signed => signed(value).map(i64::cast_unsigned),
        Form::Unsigned | Form::Symbols(_) | Form::Interval => unsigned(value),
        Form::Text
        | Form::Bytes
        | Form::SockAddr
        | Form::Tuple
        | Form::Descriptors
        | Form::Dynamic(_)
        | Form::Other => None,
    }
}

/// The form that a dynamic value has, and the value.
pub(crate) fn dynamic<'a>(
    forms: &'static [(Form, usize)],
    value: &'a [u8],
) -> Option<(Form, &'a [u8])> {
    let (which, value) = value.split_first()?;
    let (form, _) = forms.get(usize::from(*which))?;
    Some((*form, value))
}

/// Writes nanoseconds as seconds and their fraction, as the structure's two fields have them.
pub(crate) fn interval(bytes: &mut [u8], fields: &[driver_api::table::Field], ns: u64) {
    const SECOND: u64 = 1_000_000_000;
    for field in fields {
        let value = if field.name.ends_with("nsec") {
            ns % SECOND
        } else if field.name.ends_with("usec") {
            ns % SECOND / 1000
        } else {
            ns / SECOND
        };
        let width = field
            .kind
            .width()
            .map_or(8, |width| width.bytes(false))
            .min(8);
        let at = field.offset as usize;
        if let Some(to) = bytes.get_mut(at..at + width) {
            to.copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }
}
