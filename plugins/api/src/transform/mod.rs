//! Transformers: functions of field values in conditions and in output templates, such as
//! `tolower(proc.name)`.
//!
//! They are part of the SDK because the host (output templates) and rule plugins (conditions) must compute the
//! same values, and plugins depend on this crate alone.
//!
//! | file | holds |
//! |---|---|
//! | this one | the table of transformers, and the types that they take and return |
//! | `term` | [`Term`]: fields, texts and calls of transformers, and their evaluation |
//! | `base64`, `getopt` | the two transformers that parse |

mod base64;
mod getopt;
mod term;

pub use term::{Buffers, Term};

use crate::request::{FieldKind, ResolvedField};

/// Declares the transformers: each with its name in rules and templates.
macro_rules! transformers {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A function of values.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Transformer {
            $($(#[$doc])* $variant,)*
        }

        impl Transformer {
            /// Every transformer with its name.
            pub const NAMES: &'static [(&'static str, Self)] = &[$(($name, Self::$variant),)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

transformers! {
    /// `val(field)`: the field itself, for the right side of a comparison.
    Val = "val",
    /// ASCII letters in lower case.
    Lower = "tolower",
    /// ASCII letters in upper case.
    Upper = "toupper",
    /// Decodes a text, a buffer, or each text of a list from base64. Padding is optional. There is no value if one of them is
    /// not base64.
    Base64 = "b64",
    /// The part after the last `/`.
    Basename = "basename",
    /// The number of bytes of a text or a buffer, or of elements of a list.
    Len = "len",
    /// `join(separator, list)`: the elements of a list as one text. `join(list, separator)` means the same.
    Join = "join",
    /// `concat(item, ...)`: fields and texts as one text.
    Concat = "concat",
    /// `getopt(args, "ab:")`: the options in a command line with their values. `args` is a list of words, or a text.
    /// `getopt(args, "ab:")[b]`: the value of an option.
    Getopt = "getopt",
}

/// A transformer does not take the given arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransformerError {
    /// An argument has several values, or a type that differs from event to event.
    #[error("`{0}` takes no field that stands for several values or has no fixed type")]
    SeveralValues(&'static str),
    /// Only `getopt` takes `[...]`.
    #[error("`{0}(...)` takes no `[...]`")]
    NoOption(&'static str),
    /// Another number of arguments than one.
    #[error("`{0}` takes one argument")]
    OneArgument(&'static str),
    /// The argument has the wrong type.
    #[error("`{name}` needs {needed}")]
    WrongType {
        /// The transformer.
        name: &'static str,
        /// What it needs, with an example.
        needed: &'static str,
    },
}

impl Transformer {
    /// The transformer with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name)?;
        Some(found.1)
    }

    /// The type of its result for arguments of these types. A text counts as a field of type string. The `id` of
    /// the result is meaningless.
    ///
    /// # Errors
    ///
    /// [`TransformerError`]: it does not take these arguments.
    pub fn result(
        self,
        args: &[ResolvedField],
        has_option: bool,
    ) -> Result<ResolvedField, TransformerError> {
        let name = self.name();
        if args.iter().any(|arg| arg.any || arg.kind == FieldKind::Any) {
            return Err(TransformerError::SeveralValues(name));
        }
        if has_option && self != Self::Getopt {
            return Err(TransformerError::NoOption(name));
        }
        let made = |kind| Ok(ResolvedField::new(0, kind));
        let needs = |needed| Err(TransformerError::WrongType { name, needed });
        match self {
            Self::Val => only(name, args),
            Self::Lower | Self::Upper | Self::Basename => match only(name, args)? {
                arg if arg.kind == FieldKind::String => Ok(arg),
                _ => needs("a text"),
            },
            Self::Base64 => match only(name, args)? {
                arg if is_bytes(&arg) => Ok(arg),
                _ => needs("a text or a buffer"),
            },
            Self::Len => match only(name, args)? {
                arg if is_bytes(&arg) || arg.list => made(FieldKind::U64),
                _ => needs("a text, a buffer or a list"),
            },
            Self::Join => match args {
                [separator, list] | [list, separator] if list.list && is_text(separator) => {
                    made(FieldKind::String)
                }
                _ => needs("a text and a list, as in `join(\",\", fd.types)`"),
            },
            Self::Concat => match args {
                [_, ..] if args.iter().all(|arg| !arg.list) => made(FieldKind::String),
                _ => needs("fields and texts, none of them a list"),
            },
            Self::Getopt => match args {
                [line, options] if line.kind == FieldKind::String && is_text(options) => {
                    let option = ResolvedField::new(0, FieldKind::String);
                    Ok(if has_option { option } else { option.list() })
                }
                _ => needs("a command line and the options, as in `getopt(proc.args, \"nt:\")`"),
            },
        }
    }
}

fn only(name: &'static str, args: &[ResolvedField]) -> Result<ResolvedField, TransformerError> {
    match args {
        [arg] => Ok(*arg),
        _ => Err(TransformerError::OneArgument(name)),
    }
}

fn is_text(field: &ResolvedField) -> bool {
    field.kind == FieldKind::String && !field.list
}

fn is_bytes(field: &ResolvedField) -> bool {
    matches!(field.kind, FieldKind::String | FieldKind::Bytes)
}

#[cfg(test)]
mod tests;
