//! The operators of conditions, in one table. The parser, the type checks, the compiler and the matchers read it, and a
//! test compares it with the table in docs/rules.md.
//!
//! A new operator is a row here. If none of the [`Predicate`]s describes it, it also needs a variant, and the compiler
//! then points at the code of `text_matcher` that has to handle it.

use lanner_plugin::{FieldKind, Relation, ResolvedField};

use self::ValueType::{Address, Buffer, List, Number, Text, YesNo};
use crate::program::Candidates;
use crate::text_matcher::{Pattern, TextRelation};

/// Declares the operators: names (the first is the usual one), predicate, right side, types of fields.
macro_rules! operators {
    ($($variant:ident, $names:expr, $predicate:expr, $right:ident, $types:expr;)*) => {
        /// An operator.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Op {
            $($variant,)*
        }

        impl Op {
            /// Every operator, in the order in which messages list them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its names, the usual one first.
            fn names(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &$names,)*
                }
            }

            /// What it asks about a value.
            pub(crate) fn predicate(self) -> Predicate {
                match self {
                    $(Self::$variant => $predicate,)*
                }
            }

            fn right(self) -> RightSide {
                match self {
                    $(Self::$variant => RightSide::$right,)*
                }
            }

            /// The types of fields that it can compare.
            fn types(self) -> &'static [ValueType] {
                match self {
                    $(Self::$variant => &$types,)*
                }
            }
        }
    };
}

operators! {
    Eq, ["=", "=="], Predicate::Ordered(Ordered::Equal), Value, [Number, YesNo, Text, Buffer, Address];
    Ne, ["!="], Predicate::Ordered(Ordered::NotEqual), Value, [Number, YesNo, Text, Buffer, Address];
    Lt, ["<"], Predicate::Ordered(Ordered::Less), PlainValue, [Number, Text];
    Le, ["<="], Predicate::Ordered(Ordered::LessOrEqual), PlainValue, [Number, Text];
    Gt, [">"], Predicate::Ordered(Ordered::Greater), PlainValue, [Number, Text];
    Ge, [">="], Predicate::Ordered(Ordered::GreaterOrEqual), PlainValue, [Number, Text];
    Contains, ["contains"], Predicate::Text(TextRelation::Contains), Value, [Text, Buffer];
    Icontains, ["icontains"], Predicate::Text(TextRelation::ContainsFolded), Value, [Text];
    Bcontains, ["bcontains"], Predicate::Hex(TextRelation::Contains), Value, [Buffer];
    StartsWith, ["startswith"], Predicate::Text(TextRelation::Prefix), Value, [Text, Buffer];
    BstartsWith, ["bstartswith"], Predicate::Hex(TextRelation::Prefix), Value, [Buffer];
    IstartsWith, ["istartswith"], Predicate::Text(TextRelation::PrefixFolded), Value, [Text];
    EndsWith, ["endswith"], Predicate::Text(TextRelation::Suffix), Value, [Text, Buffer];
    IendsWith, ["iendswith"], Predicate::Text(TextRelation::SuffixFolded), Value, [Text];
    Glob, ["glob"], Predicate::Pattern(Pattern::Glob), Value, [Text];
    Iglob, ["iglob"], Predicate::Pattern(Pattern::GlobFolded), Value, [Text];
    Regex, ["regex"], Predicate::Pattern(Pattern::Regex), Value, [Text];
    In, ["in"], Predicate::Member(Elements::All), Values, [Number, YesNo, Text, Buffer, Address, List];
    Intersects, ["intersects"], Predicate::Member(Elements::Any), Values, [Number, YesNo, Text, Buffer, Address, List];
    Pmatch, ["pmatch"], Predicate::Pattern(Pattern::PathPrefix), Values, [Text];
    Exists, ["exists"], Predicate::Exists, Nothing, [Number, YesNo, Text, Buffer, Address, List];
}

impl Op {
    /// Whether Falco has it, too.
    pub(crate) fn is_falcos(self) -> bool {
        !matches!(self, Self::IstartsWith | Self::IendsWith)
    }
}

/// What an operator asks about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Predicate {
    /// Whether there is a value.
    Exists,
    /// How the value compares with a constant.
    Ordered(Ordered),
    /// Whether the value is one of the constants. For a list: whether this many of its elements are.
    Member(Elements),
    /// How the text relates to a constant.
    Text(TextRelation),
    /// The same with a constant written in hexadecimal.
    Hex(TextRelation),
    /// Whether the text fits a pattern.
    Pattern(Pattern),
}

/// A comparison of two values that can be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ordered {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// How many elements of a list must be members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elements {
    All,
    Any,
}

/// What follows an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RightSide {
    /// Nothing: `exists`.
    Nothing,
    /// One value.
    PlainValue,
    /// One value; or `oneof`, `anyof`, `allof` and several.
    Value,
    /// `(a, b, c)`.
    Values,
}

/// The types of fields that the table distinguishes. [`FieldKind::Any`] takes every operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueType {
    Number,
    YesNo,
    Text,
    Buffer,
    Address,
    List,
}

impl Op {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|op| op.names().contains(&name))
    }

    /// The names of all operators.
    pub(crate) fn all_names() -> impl Iterator<Item = &'static str> + Clone {
        Self::ALL.iter().flat_map(|op| op.names()).copied()
    }

    /// The usual name.
    pub(crate) fn name(self) -> &'static str {
        self.names().first().copied().unwrap_or_default()
    }

    /// Whether a right side follows.
    pub(crate) fn takes_values(self) -> bool {
        match self.right() {
            RightSide::Nothing => false,
            RightSide::PlainValue | RightSide::Value | RightSide::Values => true,
        }
    }

    /// Whether it takes `(a, b, c)`.
    pub(crate) fn takes_list(self) -> bool {
        match self.right() {
            RightSide::Values => true,
            RightSide::Nothing | RightSide::PlainValue | RightSide::Value => false,
        }
    }

    /// Whether one value without a modifier follows, which is a number in Falco.
    pub(crate) fn takes_number(self) -> bool {
        match self.right() {
            RightSide::PlainValue => true,
            RightSide::Nothing | RightSide::Value | RightSide::Values => false,
        }
    }

    /// Whether `oneof`, `anyof` or `allof` may follow.
    pub(crate) fn takes_quantifier(self) -> bool {
        match self.right() {
            RightSide::Value => true,
            RightSide::Nothing | RightSide::PlainValue | RightSide::Values => false,
        }
    }

    /// Whether it asks only if the value equals a constant: `=`, `!=`, `in`, `intersects`.
    pub(crate) fn tests_equality(self) -> bool {
        self.relation() == Relation::Equal
    }

    /// Whether it can compare a field.
    pub(crate) fn suits(self, field: &ResolvedField) -> bool {
        let types = self.types();
        if field.list {
            return types.contains(&List);
        }
        match field.kind {
            FieldKind::Bool => types.contains(&YesNo),
            FieldKind::I64 | FieldKind::U64 | FieldKind::F64 => types.contains(&Number),
            FieldKind::String => types.contains(&Text),
            FieldKind::Bytes => types.contains(&Buffer),
            FieldKind::Ip => types.contains(&Address),
            FieldKind::Any => true,
        }
    }

    /// Which of the values of a field with several must fit.
    pub(crate) fn candidates(self, field: &ResolvedField) -> Candidates {
        match self.predicate() {
            Predicate::Exists => Candidates::Whole,
            Predicate::Ordered(Ordered::NotEqual) if field.either => Candidates::All,
            Predicate::Member(Elements::All) if field.list => Candidates::All,
            Predicate::Ordered(_)
            | Predicate::Member(_)
            | Predicate::Text(_)
            | Predicate::Hex(_)
            | Predicate::Pattern(_) => {
                if field.any || field.list {
                    Candidates::Any
                } else {
                    Candidates::Whole
                }
            }
        }
    }

    /// How its comparisons are reported to the host.
    pub(crate) fn relation(self) -> Relation {
        match self.predicate() {
            Predicate::Exists => Relation::Other,
            Predicate::Ordered(ordered) => match ordered {
                Ordered::Equal | Ordered::NotEqual => Relation::Equal,
                Ordered::Less
                | Ordered::LessOrEqual
                | Ordered::Greater
                | Ordered::GreaterOrEqual => Relation::Order,
            },
            Predicate::Member(_) => Relation::Equal,
            Predicate::Text(relation) | Predicate::Hex(relation) => relation.reported(),
            Predicate::Pattern(_) => Relation::Pattern,
        }
    }
}

impl Ordered {
    /// Whether it holds for values in this order. None: they cannot be compared, like a NaN.
    pub(crate) fn holds(self, ordering: Option<std::cmp::Ordering>) -> bool {
        let Some(ordering) = ordering else {
            return self == Self::NotEqual;
        };
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_two_operators() {
        let mut names: Vec<_> = Op::all_names().collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for op in Op::ALL {
            assert_eq!(Op::by_name(op.name()), Some(*op));
        }
    }

    /// The rows of the operator table in docs/rules.md: the words in backquotes of the first cell, and for each type
    /// whether its cell is filled.
    fn documented() -> Vec<(String, Vec<bool>)> {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rules.md");
        let page = std::fs::read_to_string(page).unwrap();
        let lines = page.lines();
        let table = lines
            .skip_while(|line| !line.starts_with("| operator | numbers | yes/no | texts |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let mut rows = Vec::new();
        for line in table {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let filled: Vec<bool> = cells[1..].iter().map(|cell| !cell.is_empty()).collect();
            for word in cells[0].split('`').skip(1).step_by(2) {
                let name = word.split(' ').next().unwrap();
                rows.push((name.to_owned(), filled.clone()));
            }
        }
        rows
    }

    #[test]
    fn the_documentation_has_every_operator_with_its_types() {
        let columns = [Number, YesNo, Text, Buffer, Address, List];
        let mut documented = documented();
        let mut table: Vec<(String, Vec<bool>)> = Vec::new();
        for op in Op::ALL {
            let types = columns.map(|column| op.types().contains(&column));
            for name in op.names() {
                table.push(((*name).to_owned(), types.to_vec()));
            }
        }
        documented.sort();
        table.sort();
        assert_eq!(documented, table);
    }
}
