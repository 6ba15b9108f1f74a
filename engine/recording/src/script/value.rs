//! Parameters of calls, from the text that a test gives to the number or memory that an event has.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use decode::errno;
use driver_api::event::Encoding;
use driver_api::table::{Input, Kind, Number, Reading, Structure, SymbolSet};
use suggest::did_you_mean;

use super::error::{StepError, ValueError};
use super::format::{Given, Step};

/// A parameter in an event.
pub(super) enum Argument {
    Number(u64),
    /// A pointer to these bytes.
    Memory(Encoding, Vec<u8>),
}

/// The argument for a parameter of this kind.
pub(super) fn argument(kind: &Kind, given: &Given) -> Result<Argument, ValueError> {
    let input = kind.input();
    let text = match (input, given) {
        (_, Given::Missing) => return Ok(Argument::Number(0)),
        (Input::Texts, Given::Many(texts)) => {
            let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
            return Ok(Argument::Memory(Encoding::Strings, bytes.collect()));
        }
        (Input::Fields(of), Given::Fields(fields)) => {
            return structure(of, fields).map(|bytes| Argument::Memory(Encoding::Raw, bytes));
        }
        (_, Given::Many(_) | Given::Fields(_)) => return Err(ValueError::List),
        (_, Given::One(text)) => text,
    };
    match input {
        Input::Text => Ok(Argument::Memory(Encoding::Raw, text.as_bytes().to_vec())),
        Input::Address => sockaddr(text).map(|bytes| Argument::Memory(Encoding::Raw, bytes)),
        Input::Names(set) => symbols(set, text).map(Argument::Number),
        Input::Number(kind) => numeral(kind, text).map(Argument::Number),
        Input::Pointer => number(text).map(Argument::Number),
        Input::Texts | Input::Fields(_) | Input::None => Err(ValueError::Undescribable),
    }
}

/// A number of this kind, by its name or by its digits.
fn numeral(kind: Number, text: &str) -> Result<u64, ValueError> {
    match kind.reading() {
        Reading::DirFd if text == "AT_FDCWD" => Ok(i64::from(libc::AT_FDCWD).cast_unsigned()),
        Reading::ClockId => named("clock", text),
        Reading::Signal => named("signal", text),
        Reading::Mode | Reading::FileType => octal(text),
        Reading::Signed
        | Reading::Unsigned
        | Reading::Hex
        | Reading::Pages
        | Reading::Address
        | Reading::DirFd
        | Reading::Id
        | Reading::Device
        | Reading::IpcKey
        | Reading::Limit
        | Reading::Ioprio
        | Reading::WaitStatus
        | Reading::Ip4
        | Reading::Network => number(text),
    }
}

/// A structure in memory. The fields that are not given are zero.
fn structure(of: &Structure, given: &BTreeMap<String, Given>) -> Result<Vec<u8>, ValueError> {
    let [layout, ..] = &of.layouts;
    let mut bytes = vec![0; layout.size as usize];
    for (name, value) in given {
        let found = layout.fields.iter().find(|field| field.name == name);
        let field = found.ok_or_else(|| {
            let known = layout.fields.iter().map(|field| field.name);
            ValueError::Field {
                name: name.clone(),
                structure: of.name,
                help: did_you_mean(name, known),
            }
        })?;
        let (Some(width), Argument::Number(number)) =
            (field.kind.width(), argument(&field.kind, value)?)
        else {
            return Err(ValueError::Undescribable);
        };
        let start = field.offset as usize;
        let number = number.to_le_bytes();
        let width = width.bytes(false).min(number.len());
        if let Some(place) = bytes.get_mut(start..start + width) {
            place.copy_from_slice(&number[..width]);
        }
    }
    Ok(bytes)
}

fn number(text: &str) -> Result<u64, ValueError> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text
            .parse::<i64>()
            .map(i64::cast_unsigned)
            .ok()
            .or_else(|| text.parse().ok()),
    };
    parsed.ok_or_else(|| ValueError::Number(text.to_owned()))
}

/// A number, or a name of this set.
fn named(set: &str, text: &str) -> Result<u64, ValueError> {
    match decode::symbols::set(set) {
        Some(set) => symbols(set, text),
        None => number(text),
    }
}

fn octal(text: &str) -> Result<u64, ValueError> {
    let digits = text.trim_start_matches("0o");
    u64::from_str_radix(digits, 8).map_err(|_| ValueError::Octal(text.to_owned()))
}

/// Names of bits or values, joined by `|`.
fn symbols(set: &SymbolSet, text: &str) -> Result<u64, ValueError> {
    let known = || {
        let fields = set.fields.iter().flat_map(|(_, values)| values.iter());
        fields.chain(set.values)
    };
    text.split('|').map(str::trim).try_fold(0, |sum, word| {
        if let Ok(number) = number(word) {
            return Ok(sum | number);
        }
        let found = known().find(|(_, name)| *name == word);
        found
            .map(|(value, _)| sum | value)
            .ok_or_else(|| ValueError::Symbol {
                word: word.to_owned(),
                set: set.name,
                help: did_you_mean(word, known().map(|(_, name)| *name)),
            })
    })
}

/// The `struct sockaddr` of `192.0.2.1:443`, `[::1]:443` or the path of a Unix socket.
fn sockaddr(text: &str) -> Result<Vec<u8>, ValueError> {
    let family = |family: i32| u16::try_from(family).unwrap_or(0).to_ne_bytes();
    if text.starts_with('/') {
        let mut bytes = family(libc::AF_UNIX).to_vec();
        bytes.extend(text.bytes().chain([0]));
        return Ok(bytes);
    }
    let address: SocketAddr = text
        .parse()
        .map_err(|_| ValueError::Address(text.to_owned()))?;
    Ok(match address {
        SocketAddr::V4(address) => {
            let mut bytes = family(libc::AF_INET).to_vec();
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.ip().octets());
            bytes.resize(16, 0);
            bytes
        }
        SocketAddr::V6(address) => {
            let mut bytes = family(libc::AF_INET6).to_vec();
            bytes.extend(address.port().to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(address.ip().octets());
            bytes.extend([0; 4]);
            bytes
        }
    })
}

/// An address as [`Tuple`](driver_api::event::Tuple) has it.
pub(super) fn wide(ip: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match ip {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes = ip.octets(),
    }
    bytes
}

/// What a call returned; 0 if the test does not say it.
pub(super) fn returned(step: &Step) -> Result<i64, StepError> {
    let Some(text) = &step.returns else {
        return Ok(0);
    };
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let errors = (1..4096).filter_map(|number| Some((number, errno::name(number)?)));
    let found = errors.clone().find(|(_, name)| name == text);
    found
        .map(|(number, _)| -i64::from(number))
        .ok_or_else(|| StepError::Returns {
            text: text.clone(),
            help: did_you_mean(text, errors.map(|(_, name)| name)),
        })
}
