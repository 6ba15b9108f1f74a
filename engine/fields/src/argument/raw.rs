//! Parameters as they are: `evt.rawarg`.

use decode::{self, Scalar};
use driver_api::table::{Reading, Syscall};
use lanner_plugin::Value;

use super::{Arg, ParamMeaning, ValueSource, falco_text, find, lifecycle, member_text, state};
use crate::event::{raw_result, text_of};
use crate::view::View;

/// `evt.rawarg`: a parameter as it is.
pub(crate) fn raw<'a>(view: &View<'a>, arg: &Arg) -> Value<'a> {
    let Some((call, ParamMeaning { place, .. })) = find(view, arg) else {
        return lifecycle(view, arg, &mut String::new()).map_or(Value::None, Value::I64);
    };
    let at = match place {
        ValueSource::Nowhere => return Value::None,
        ValueSource::Fact(fact) => return super::fact(view, fact),
        ValueSource::Result => return raw_result(view),
        ValueSource::State(at) => return state(view, at),
        ValueSource::Member(member) => {
            let value = member.value(view.event, call);
            let number = value.as_ref().and_then(number_of);
            return number.unwrap_or_else(|| member_text(view, call, member));
        }
        ValueSource::Param(at) => at,
    };
    let Some(value) = decode::param(view.event, call, usize::from(at)) else {
        return Value::None;
    };
    match &value {
        decode::Value::Null
        | decode::Value::Unread(_)
        | decode::Value::Unknown
        | decode::Value::Unused => Value::None,
        decode::Value::Str(said) => Value::String(text_of(view, &said.0)),
        decode::Value::Strings(said) => Value::String(text_of(view, &said.0)),
        decode::Value::Bytes(said) => Value::Bytes(text_of(view, &said.0)),
        decode::Value::Number(number) if is_shown_as_text(number.reading()) => {
            falco_param(view, call, at)
        }
        _ => number_of(&value).unwrap_or_else(|| falco_param(view, call, at)),
    }
}

/// Whether `evt.rawarg` shows a parameter of this kind as text, though it is a number as a member of a structure.
fn is_shown_as_text(reading: Reading) -> bool {
    matches!(
        reading,
        Reading::FileType | Reading::Device | Reading::Limit
    )
}

fn falco_param<'a>(view: &View<'a>, call: &Syscall, at: u8) -> Value<'a> {
    let param = call.params.get(usize::from(at));
    param.map_or(Value::None, |param| falco_text(view, call, param.name))
}

/// A number as it is.
fn number_of<'a>(value: &decode::Value<'a>) -> Option<Value<'a>> {
    Some(match value.scalar()? {
        Scalar::Signed(number) => Value::I64(number),
        Scalar::Unsigned(number) => Value::U64(number),
    })
}
