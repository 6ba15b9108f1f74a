//! Reads `netlink.tbl`.

use super::kind::Kind;
use super::{Fault, NETLINK, SymbolSet, TableError, lines, narrow_number, value_of};

/// A protocol of netlink.
#[derive(Debug)]
pub(crate) struct Protocol {
    pub(crate) line: usize,
    pub(crate) number: u16,
    /// The set that names the types of its messages. None: its data has no headers.
    pub(crate) types: Option<String>,
    /// All of its messages ask.
    pub(crate) asks: bool,
    /// The set that names the subsystems in the upper byte of a type.
    pub(crate) subsystems: Option<String>,
    /// Subsystems, and the sets that name the lower byte of their types.
    pub(crate) named: Vec<(u8, String)>,
    pub(crate) rows: Vec<ValueRow>,
}

/// A space of attributes.
#[derive(Debug)]
pub(crate) struct Attributes {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) types: Option<String>,
    pub(crate) rows: Vec<ValueRow>,
}

/// What messages or attributes of some types are.
#[derive(Debug)]
pub(crate) struct ValueRow {
    /// Empty: all types.
    pub(crate) types: Vec<u16>,
    /// All types of this subsystem.
    pub(crate) subsystem: Option<u8>,
    pub(crate) family: Option<u8>,
    pub(crate) request: Option<bool>,
    /// An attribute before it, and its text.
    pub(crate) behind: Option<(u16, String)>,
    pub(crate) values: Vec<Value>,
}

/// What a payload or an attribute is.
#[derive(Debug)]
pub(crate) enum Value {
    Plain(Kind),
    Str,
    HwAddr,
    Ip,
    Bytes,
    /// A number of any length, and the set of its names.
    Uint(Option<String>),
    Xint,
    Nest(String),
    List(Kind, Option<String>),
    Then(Kind, String),
    Hops(Kind, String),
}

/// Reads the table: the protocols, and the spaces of attributes.
pub(crate) fn netlink(
    text: &str,
    sets: &[SymbolSet],
) -> Result<(Vec<Protocol>, Vec<Attributes>), TableError> {
    let mut reader = Reader {
        sets,
        protocols: Vec::new(),
        attributes: Vec::new(),
        in_protocol: false,
    };
    for (line, text) in lines(text) {
        reader
            .line(line, text)
            .map_err(|fault| fault.at(NETLINK, line))?;
    }
    Ok((reader.protocols, reader.attributes))
}

struct Reader<'a> {
    sets: &'a [SymbolSet],
    protocols: Vec<Protocol>,
    attributes: Vec<Attributes>,
    /// The last block is a protocol.
    in_protocol: bool,
}

impl Reader<'_> {
    fn line(&mut self, line: usize, text: &str) -> Result<(), Fault> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if text.starts_with(char::is_whitespace) {
            return match words.as_slice() {
                ["subsystem", name, set] => self.subsystem(name, set),
                [selectors @ .., ":", value] => self.row(selectors, value),
                _ => Err(Fault::syntax("`TYPE... : KIND`", text.trim())),
            };
        }
        match words.as_slice() {
            ["protocol", name, rest @ ..] => self.protocol(line, name, rest),
            ["attributes", name, types @ ..] if types.len() < 2 => {
                self.in_protocol = false;
                self.attributes.push(Attributes {
                    line,
                    name: (*name).to_owned(),
                    types: types.first().map(|set| (*set).to_owned()),
                    rows: Vec::new(),
                });
                Ok(())
            }
            _ => Err(Fault::syntax(
                "`protocol NAME SET` or `attributes NAME [SET]`",
                text,
            )),
        }
    }

    fn protocol(&mut self, line: usize, name: &str, rest: &[&str]) -> Result<(), Fault> {
        let (types, rest) = rest.split_first().ok_or(Fault::Ends("a set"))?;
        let (asks, subsystems) = match rest {
            [] => (false, None),
            ["get"] => (true, None),
            ["subsystems", set] => (false, Some((*set).to_owned())),
            _ => return Err(Fault::syntax("`get` or `subsystems SET`", &rest.join(" "))),
        };
        self.in_protocol = true;
        self.protocols.push(Protocol {
            line,
            number: self.value_of("netlink_proto", name)?,
            types: (*types != "plain").then(|| (*types).to_owned()),
            asks,
            subsystems,
            named: Vec::new(),
            rows: Vec::new(),
        });
        Ok(())
    }

    fn subsystem(&mut self, name: &str, set: &str) -> Result<(), Fault> {
        let number = self.subsystem_number(name)?;
        match self.protocols.last_mut() {
            Some(protocol) if self.in_protocol => protocol.named.push((number, set.to_owned())),
            _ => return Err(Fault::NoBlock("`protocol NAME SET subsystems SET`")),
        }
        Ok(())
    }

    fn subsystem_number(&self, name: &str) -> Result<u8, Fault> {
        let set = self
            .protocols
            .last()
            .and_then(|protocol| protocol.subsystems.clone())
            .ok_or(Fault::NoBlock("`protocol NAME SET subsystems SET`"))?;
        narrow(self.value_of(&set, name)?)
    }

    fn row(&mut self, selectors: &[&str], value: &str) -> Result<(), Fault> {
        let set = if self.in_protocol {
            self.protocols.last().and_then(|of| of.types.clone())
        } else {
            self.attributes.last().and_then(|of| of.types.clone())
        };
        let set = set.unwrap_or_default();
        let mut row = ValueRow {
            types: Vec::new(),
            subsystem: None,
            family: None,
            request: None,
            behind: None,
            values: value.split('|').map(one).collect::<Result<_, _>>()?,
        };
        for selector in selectors {
            match (selector.strip_prefix('?'), selector.split_once("<<")) {
                (Some("request"), _) => row.request = Some(true),
                (Some("reply"), _) => row.request = Some(false),
                (Some(condition), _) => match condition.split_once('=') {
                    Some((name, text)) => {
                        row.behind = Some((self.value_of(&set, name)?, text.to_owned()));
                    }
                    None => row.family = Some(narrow(self.value_of("sock_domain", condition)?)?),
                },
                (None, Some((subsystem, "*"))) => {
                    row.subsystem = Some(self.subsystem_number(subsystem)?);
                }
                (None, Some((subsystem, low))) => {
                    let high = u16::from(self.subsystem_number(subsystem)?);
                    row.types
                        .push(high << 8 | u16::from(narrow_number(low, u8::MAX)?));
                }
                (None, None) if *selector == "*" => {}
                (None, None) => row.types.push(self.value_of(&set, selector)?),
            }
        }
        let rows = if self.in_protocol {
            self.protocols.last_mut().map(|of| &mut of.rows)
        } else {
            self.attributes.last_mut().map(|of| &mut of.rows)
        };
        rows.ok_or(Fault::NoBlock("`protocol` or `attributes`"))?
            .push(row);
        Ok(())
    }

    fn value_of(&self, set: &str, name: &str) -> Result<u16, Fault> {
        value_of(self.sets, set, name, u16::MAX)
    }
}

fn narrow(number: u16) -> Result<u8, Fault> {
    u8::try_from(number).map_err(|_| Fault::Large {
        found: number.to_string(),
        most: u8::MAX.into(),
    })
}

fn plain(text: &str) -> Result<Kind, Fault> {
    let no_names = |name: &str| Err(Fault::syntax("a length that is a number", name));
    Kind::parse(text, &no_names)
}

/// Reads one of the values of a row.
fn one(text: &str) -> Result<Value, Fault> {
    let inside = |word: &str| {
        text.strip_prefix(word)
            .and_then(|rest| rest.strip_suffix(')'))
    };
    Ok(match text {
        "str" => Value::Str,
        "hwaddr" => Value::HwAddr,
        "ip" => Value::Ip,
        "bytes" => Value::Bytes,
        "uint" => Value::Uint(None),
        "xint" => Value::Xint,
        _ => match text.split_once("+nest(") {
            Some((kind, rest)) => {
                let name = rest
                    .strip_suffix(')')
                    .ok_or_else(|| Fault::syntax("a closing parenthesis", rest))?;
                Value::Then(plain(kind)?, name.to_owned())
            }
            None => {
                if let Some(name) = inside("nest(") {
                    Value::Nest(name.to_owned())
                } else if let Some(set) = inside("uint(") {
                    Value::Uint(Some(set.to_owned()))
                } else if let Some(list) = inside("list(") {
                    match list.rsplit_once(',') {
                        Some((kind, set)) => Value::List(plain(kind)?, Some(set.to_owned())),
                        None => Value::List(plain(list)?, None),
                    }
                } else if let Some((of, name)) =
                    inside("hops(").and_then(|inside| inside.split_once(','))
                {
                    Value::Hops(Kind::Struct(of.to_owned(), None), name.to_owned())
                } else {
                    Value::Plain(plain(text)?)
                }
            }
        },
    })
}
