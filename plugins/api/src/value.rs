//! Values of fields: [`Value`] borrows, [`RawValue`] has the layout of C, [`OwnedValue`] owns.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::abi::{
    LannerList, LannerStr, LannerValue, LannerValueData, TAG_BOOL, TAG_BYTES, TAG_F64, TAG_I64,
    TAG_IPV4, TAG_IPV6, TAG_LIST, TAG_STRING, TAG_U64,
};

/// The value of a field, borrowed from an event or an alert. Cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// The event does not have this field.
    None,
    /// True or false.
    Bool(bool),
    /// A signed number: descriptors, results.
    I64(i64),
    /// An unsigned number.
    U64(u64),
    /// A floating-point number.
    F64(f64),
    /// A text as the kernel gave it: usually UTF-8, but not guaranteed to be.
    String(&'a [u8]),
    /// A buffer.
    Bytes(&'a [u8]),
    /// An address.
    Ip(IpAddr),
    /// Several values, none of them a list.
    List(List<'a>),
}

/// A value in the layout of C. The host builds lists of them.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct RawValue<'a>(LannerValue, PhantomData<&'a [u8]>);

/// The elements of a [`Value::List`].
#[derive(Clone, Copy)]
pub struct List<'a>(&'a [RawValue<'a>]);

/// A value that owns its data.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum OwnedValue {
    /// Absent.
    #[default]
    None,
    /// True or false.
    Bool(bool),
    /// A signed number.
    I64(i64),
    /// An unsigned number.
    U64(u64),
    /// A floating-point number.
    F64(f64),
    /// A text, usually UTF-8.
    String(Vec<u8>),
    /// A buffer.
    Bytes(Vec<u8>),
    /// An address.
    Ip(IpAddr),
    /// Several values.
    List(Vec<OwnedValue>),
}

impl<'a> Value<'a> {
    /// Whether there is a value.
    #[must_use]
    pub fn is_some(self) -> bool {
        !matches!(self, Self::None)
    }

    /// The bytes of a string or a buffer.
    #[must_use]
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::String(bytes) | Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of a string, if it is UTF-8.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Self::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The same value with its own data.
    #[must_use]
    pub fn to_owned(self) -> OwnedValue {
        match self {
            Self::None => OwnedValue::None,
            Self::Bool(v) => OwnedValue::Bool(v),
            Self::I64(v) => OwnedValue::I64(v),
            Self::U64(v) => OwnedValue::U64(v),
            Self::F64(v) => OwnedValue::F64(v),
            Self::String(v) => OwnedValue::String(v.to_vec()),
            Self::Bytes(v) => OwnedValue::Bytes(v.to_vec()),
            Self::Ip(v) => OwnedValue::Ip(v),
            Self::List(v) => OwnedValue::List(v.iter().map(Value::to_owned).collect()),
        }
    }
}

impl<'a> RawValue<'a> {
    /// Wraps a value in the layout of C. An unknown tag means no value.
    ///
    /// # Safety
    ///
    /// The member of `raw.data` that the tag names is set, and the memory that it points to stays unchanged for `'a`.
    #[must_use]
    pub unsafe fn from_abi(raw: LannerValue) -> Self {
        Self(raw, PhantomData)
    }

    /// The value in the layout of C.
    #[must_use]
    pub fn abi(self) -> LannerValue {
        self.0
    }

    /// The value.
    #[must_use]
    pub fn get(self) -> Value<'a> {
        let data = &self.0.data;
        // SAFETY: the creator of this `RawValue` has set the member that the tag names, and the memory that it points to
        // lives for 'a.
        unsafe {
            match self.0.tag {
                TAG_BOOL => Value::Bool(data.boolean != 0),
                TAG_I64 => Value::I64(data.i64),
                TAG_U64 => Value::U64(data.u64),
                TAG_F64 => Value::F64(data.f64),
                TAG_STRING => Value::String(data.bytes.as_bytes()),
                TAG_BYTES => Value::Bytes(data.bytes.as_bytes()),
                TAG_IPV4 => {
                    let [a, b, c, d, ..] = data.ip;
                    Value::Ip(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
                }
                TAG_IPV6 => Value::Ip(IpAddr::V6(Ipv6Addr::from(data.ip))),
                TAG_LIST => Value::List(List::from_abi(data.list)),
                _ => Value::None,
            }
        }
    }
}

impl<'a> From<Value<'a>> for RawValue<'a> {
    fn from(value: Value<'a>) -> Self {
        let (tag, data) = match value {
            Value::None => return Self(LannerValue::NONE, PhantomData),
            Value::Bool(v) => (
                TAG_BOOL,
                LannerValueData {
                    u64: u64::from(v).to_le(),
                },
            ),
            Value::I64(v) => (TAG_I64, LannerValueData { i64: v }),
            Value::U64(v) => (TAG_U64, LannerValueData { u64: v }),
            Value::F64(v) => (TAG_F64, LannerValueData { f64: v }),
            Value::String(v) => (
                TAG_STRING,
                LannerValueData {
                    bytes: LannerStr::new(v),
                },
            ),
            Value::Bytes(v) => (
                TAG_BYTES,
                LannerValueData {
                    bytes: LannerStr::new(v),
                },
            ),
            Value::Ip(IpAddr::V4(v)) => {
                let mut ip = [0; 16];
                ip[..4].copy_from_slice(&v.octets());
                (TAG_IPV4, LannerValueData { ip })
            }
            Value::Ip(IpAddr::V6(v)) => (TAG_IPV6, LannerValueData { ip: v.octets() }),
            Value::List(v) => (
                TAG_LIST,
                LannerValueData {
                    list: LannerList {
                        ptr: v.0.as_ptr().cast(),
                        len: v.0.len(),
                    },
                },
            ),
        };
        let raw = LannerValue {
            tag,
            reserved: 0,
            data,
        };
        Self(raw, PhantomData)
    }
}

impl<'a> List<'a> {
    /// A list of these elements. An element that is a list itself counts as no value.
    #[must_use]
    pub fn new(elements: &'a [RawValue<'a>]) -> Self {
        Self(elements)
    }

    /// # Safety
    ///
    /// `ptr` is null, or points to `len` values that meet the contract of [`RawValue::from_abi`].
    unsafe fn from_abi(raw: LannerList) -> Self {
        if raw.ptr.is_null() || raw.len > isize::MAX as usize / size_of::<LannerValue>() {
            return Self(&[]);
        }
        // SAFETY: by the function's contract; `RawValue` is a transparent wrapper.
        Self(unsafe { std::slice::from_raw_parts(raw.ptr.cast(), raw.len) })
    }

    /// The elements, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Value<'a>> {
        self.0.iter().map(|raw| match raw.get() {
            Value::List(_) => Value::None,
            value => value,
        })
    }

    /// The number of elements.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for List<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for RawValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl OwnedValue {
    /// The value, borrowed. [`Value::None`] for a list: its elements would need a buffer of [`RawValue`]s.
    #[must_use]
    pub fn scalar(&self) -> Value<'_> {
        match self {
            Self::None | Self::List(_) => Value::None,
            Self::Bool(v) => Value::Bool(*v),
            Self::I64(v) => Value::I64(*v),
            Self::U64(v) => Value::U64(*v),
            Self::F64(v) => Value::F64(*v),
            Self::String(v) => Value::String(v),
            Self::Bytes(v) => Value::Bytes(v),
            Self::Ip(v) => Value::Ip(*v),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scalar_survives_the_border() {
        let values = [
            Value::None,
            Value::Bool(true),
            Value::Bool(false),
            Value::I64(i64::MIN),
            Value::U64(u64::MAX),
            Value::F64(-0.5),
            Value::String(b"caf\xff\0"),
            Value::String(b""),
            Value::Bytes(&[0, 1, 2]),
            Value::Ip(IpAddr::from([192, 0, 2, 1])),
            Value::Ip(IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 1])),
        ];
        for value in values {
            assert_eq!(RawValue::from(value).get(), value);
        }
    }

    #[test]
    fn a_list_survives_the_border_and_a_list_in_a_list_is_absent() {
        let inner = [RawValue::from(Value::U64(1))];
        let elements = [
            RawValue::from(Value::String(b"bash")),
            RawValue::from(Value::List(List::new(&inner))),
        ];
        let raw = RawValue::from(Value::List(List::new(&elements)));
        let Value::List(list) = raw.get() else {
            panic!("not a list: {raw:?}");
        };
        let read: Vec<_> = list.iter().collect();
        assert_eq!(read, [Value::String(b"bash"), Value::None]);
    }

    #[test]
    fn an_unknown_tag_is_no_value() {
        let raw = LannerValue {
            tag: 4711,
            ..LannerValue::NONE
        };
        // SAFETY: no member is read for an unknown tag.
        assert_eq!(unsafe { RawValue::from_abi(raw) }.get(), Value::None);
    }

    #[test]
    fn null_with_a_length_is_empty_rather_than_read() {
        let raw = LannerValue {
            tag: TAG_LIST,
            reserved: 0,
            data: LannerValueData {
                list: LannerList {
                    ptr: std::ptr::null(),
                    len: 7,
                },
            },
        };
        // SAFETY: a null list is never read.
        let value = unsafe { RawValue::from_abi(raw) }.get();
        assert_eq!(value, Value::List(List::new(&[])));
    }
}
