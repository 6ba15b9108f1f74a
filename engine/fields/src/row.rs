//! What a row of the list of fields says.

use lanner_plugin::{FieldKind, Value};

use super::argument::Arg;
use super::container::GetLate;
use super::needs::Implies;
use super::view::View;

/// Finds a field's value.
pub(super) type Get = for<'a> fn(&View<'a>, &Arg) -> Value<'a>;

/// The argument that a field takes, in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgRule {
    /// None.
    None,
    /// A number, or none.
    Index,
    /// A name, or none.
    Name,
    /// A parameter of a call, by its name or number. Also written after a dot.
    Param,
    /// A number or a pattern of paths; there must be one.
    Pattern,
    /// A name; there must be one.
    Key,
    /// A number, a name, or none.
    IndexOrName,
}

/// How many values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Many {
    /// One.
    One,
    /// A list, unless an argument picks one.
    List,
    /// Candidates, such as all ancestors: one that fulfils a comparison is enough. An argument picks one of them.
    Any,
    /// Both ends of a connection.
    Either,
}

/// A field.
#[derive(Debug, Clone, Copy)]
pub struct FieldDef {
    /// Its name.
    pub name: &'static str,
    /// What its values are.
    pub kind: FieldKind,
    /// What its argument is.
    pub arg: ArgRule,
    /// How many values it has.
    pub many: Many,
    /// Whether it is only there for rules that were written for older versions of Falco.
    pub deprecated: bool,
    /// Whether no event has a value.
    pub never: bool,
    /// Whether the driver has to say how long calls take.
    pub times: bool,
    /// What it means, in one or two sentences.
    pub description: &'static str,
    pub(super) get: Get,
    /// As `get`, for a container whose runtime may answer later than the event.
    pub(super) late: Option<GetLate>,
    /// What a test of the field says about a call's result and arguments.
    pub(super) implies: Option<Implies>,
}

impl FieldDef {
    /// A field with one value and without argument.
    pub(super) const fn new(
        name: &'static str,
        kind: FieldKind,
        description: &'static str,
        get: Get,
    ) -> Self {
        Self {
            name,
            kind,
            arg: ArgRule::None,
            many: Many::One,
            deprecated: false,
            never: false,
            times: false,
            description,
            get,
            late: None,
            implies: None,
        }
    }

    /// A field of a container that its runtime tells.
    pub(super) const fn late(
        name: &'static str,
        kind: FieldKind,
        description: &'static str,
        get: Get,
        late: GetLate,
    ) -> Self {
        let mut row = Self::new(name, kind, description, get);
        row.late = Some(late);
        row
    }

    pub(super) const fn arg(self, arg: ArgRule) -> Self {
        Self { arg, ..self }
    }

    pub(super) const fn many(self, many: Many) -> Self {
        Self { many, ..self }
    }

    pub(super) const fn implies(self, implies: Implies) -> Self {
        Self {
            implies: Some(implies),
            ..self
        }
    }

    pub(super) const fn deprecated(self) -> Self {
        Self {
            deprecated: true,
            ..self
        }
    }

    pub(super) const fn times(self) -> Self {
        Self {
            times: true,
            ..self
        }
    }

    pub(super) const fn never(self) -> Self {
        Self {
            never: true,
            ..self
        }
    }

    /// What its values are, in a word: `string`, `number`, ...
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            FieldKind::Bool => "bool",
            FieldKind::I64 => "integer",
            FieldKind::U64 => "unsigned",
            FieldKind::F64 => "number",
            FieldKind::String => "string",
            FieldKind::Bytes => "bytes",
            FieldKind::Ip => "address",
            FieldKind::Any => "any",
        }
    }

    /// The part before the first dot, such as `proc` or `fs`.
    #[must_use]
    pub fn class(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }
}
