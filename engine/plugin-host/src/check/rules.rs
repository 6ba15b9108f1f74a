//! A rule plugin: open, rules, event types, check, explain, and events of all sorts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{End, HostFields, Run, Verdict, refused};
use crate::{
    EventTypes, FieldKind, FieldResolver, FieldSource, List, Plugin, PluginError, RawValue,
    ResolvedField, RuleFile, RuleHost, UnknownName, Value,
};

/// The number of events for each kind of contents.
const EVENTS: u32 = 2000;

/// Records the fields that the plugin resolves.
#[derive(Default)]
pub(super) struct Recorder {
    asked: RefCell<HashMap<u32, ResolvedField>>,
}

impl Recorder {
    pub(super) fn with<R>(
        fields: &dyn HostFields,
        body: impl FnOnce(&dyn FieldResolver) -> R,
    ) -> (R, HashMap<u32, ResolvedField>) {
        let recorder = Self::default();
        let result = body(&Recording(&recorder, fields));
        (result, recorder.asked.into_inner())
    }
}

struct Recording<'a>(&'a Recorder, &'a dyn HostFields);

impl FieldResolver for Recording<'_> {
    fn resolve(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, UnknownName> {
        let field = self.1.resolve(name, arg)?;
        self.0.asked.borrow_mut().insert(field.id, field);
        Ok(field)
    }

    fn event_type(&self, name: &str) -> Result<u32, UnknownName> {
        self.1.event_type(name)
    }
}

/// A plugin's rules that are open, and the fields that it asked for.
type Opened = (RuleHost, HashMap<u32, ResolvedField>);

pub(super) fn check(run: &mut Run<'_>) -> Result<(), End> {
    run.schema(Plugin::rule_schema)?;
    offer_noise(run)?;
    let Some((host, asked)) = open_twice(run)? else {
        return Ok(());
    };
    let Some(host) = look_at_rules(run, host)? else {
        return Ok(());
    };
    let Some(host) = offer_events(run, host, &asked)? else {
        return Ok(());
    };
    run.step("rules: close", move |_| {
        drop(host);
        (Verdict::Good, Some(()))
    })?;
    Ok(())
}

fn offer_noise(run: &mut Run<'_>) -> Result<(), End> {
    let settings = run.request.settings.clone();
    let fields = run.request.fields;
    run.step("rules: open a file that is no rule file", move |plugin| {
        let file = RuleFile {
            name: "noise.yaml".to_owned(),
            text: b"\0\xff{{[ - : %\n".to_vec(),
        };
        let answer = Recorder::with(&*fields(), |fields| {
            RuleHost::open(plugin, fields, &[file], &settings)
        })
        .0;
        let otherwise = "it took the file: it should refuse what it cannot read";
        (refused(answer, otherwise), Some(()))
    })?;
    Ok(())
}

/// Opens the rules, and then once more: both states must say the same.
fn open_twice(run: &mut Run<'_>) -> Result<Option<Opened>, End> {
    let files = run.request.rules.clone();
    let settings = run.request.settings.clone();
    let fields = run.request.fields;
    let open = move |plugin: &Plugin| {
        let (answer, asked) = Recorder::with(&*fields(), |fields| {
            RuleHost::open(plugin, fields, &files, &settings)
        });
        match answer {
            Ok(host) => (Verdict::Good, Some((host, asked))),
            Err(error) => (Verdict::Bad(error.to_string()), None),
        }
    };
    let Some((host, asked)) = run.step("rules: open", open.clone())? else {
        return Ok(None);
    };
    let host = run.step(
        "rules: open a second state, with the same rules",
        move |plugin| {
            let (verdict, second) = open(plugin);
            let verdict = match second {
                Some((second, _)) if second.rules() != host.rules() => {
                    Verdict::Bad("it names other rules than before".to_owned())
                }
                Some((second, _)) if second.event_types() != host.event_types() => {
                    Verdict::Bad("it names other event types than before".to_owned())
                }
                _ => verdict,
            };
            (verdict, Some(host))
        },
    )?;
    Ok(host.map(|host| (host, asked)))
}

/// Looks at what the plugin says about its rules and its rule files.
fn look_at_rules(run: &mut Run<'_>, host: RuleHost) -> Result<Option<RuleHost>, End> {
    let fields = run.request.fields;
    let described = run.step("rules: what they are", move |_| {
        (described(&host, &*fields()), Some(host))
    })?;
    let Some(host) = described else {
        return Ok(None);
    };
    let files = run.request.rules.clone();
    let settings = run.request.settings.clone();
    run.step("rules: check the files", move |plugin| {
        let answer = Recorder::with(&*fields(), |fields| {
            RuleHost::check(plugin, fields, &files, &settings)
        })
        .0;
        let verdict = match answer {
            Ok(_) => Verdict::Good,
            Err(error) => Verdict::Bad(error.to_string()),
        };
        (verdict, Some(()))
    })?;
    run.step("rules: explain each", move |_| explain(host))
}

/// Offers events until the plugin is switched off.
fn offer_events(
    run: &mut Run<'_>,
    mut host: RuleHost,
    asked: &HashMap<u32, ResolvedField>,
) -> Result<Option<RuleHost>, End> {
    for (name, contents) in [
        ("rules: events without any field", Contents::None),
        ("rules: events with empty fields", Contents::Empty),
        ("rules: events with strange contents", Contents::Strange),
    ] {
        let asked = asked.clone();
        let back = run.step(name, move |_| {
            let verdict = events(&mut host, &asked, contents);
            (verdict, Some(host))
        })?;
        let Some(back) = back else {
            return Ok(None);
        };
        host = back;
        if host.off().is_some() {
            break;
        }
    }
    Ok(Some(host))
}

fn described(host: &RuleHost, fields: &dyn HostFields) -> Verdict {
    let mut names: Vec<&str> = host.rules().iter().map(|rule| rule.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|two| two[0] == two[1]) {
        return Verdict::Bad("two rules have the same name".to_owned());
    }
    if names.first() == Some(&"") {
        return Verdict::Bad("a rule has no name".to_owned());
    }
    if let EventTypes::Only(types) = host.event_types()
        && let Some(reason) = types.iter().find_map(|name| fields.event_type(name).err())
    {
        return Verdict::Bad(format!("it wants an event type that is none: {reason}"));
    }
    for rule in host.rules().iter().filter(|rule| rule.enabled) {
        if let Err(error) = fields.check_output(&rule.output) {
            return Verdict::Bad(format!("rule {:?}, output: {error}", rule.name));
        }
    }
    Verdict::Note(format!("{} rules", names.len()))
}

fn explain(mut host: RuleHost) -> (Verdict, Option<RuleHost>) {
    for rule in 0..host.rules().len() {
        match host.explain(u32::try_from(rule).unwrap_or(u32::MAX)) {
            Ok(_) => {}
            Err(PluginError::Failed { reason, .. }) => {
                return (Verdict::Note(format!("it does not: {reason}")), Some(host));
            }
            Err(error) => return (Verdict::Bad(error.to_string()), Some(host)),
        }
    }
    (Verdict::Good, Some(host))
}

/// The values of an event's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    /// No field has a value.
    None,
    /// The empty value of the field's kind.
    Empty,
    /// Unusual values of the field's kind.
    Strange,
}

/// A made-up event.
pub(super) struct Made<'a> {
    pub(super) event_type: u32,
    pub(super) contents: Contents,
    fields: &'a HashMap<u32, ResolvedField>,
    lists: &'a HashMap<u32, Vec<RawValue<'a>>>,
}

impl FieldSource for Made<'_> {
    fn event_type(&self) -> u32 {
        self.event_type
    }

    fn get(&self, id: u32) -> Value<'_> {
        if self.contents == Contents::None {
            return Value::None;
        }
        if let Some(list) = self.lists.get(&id) {
            return Value::List(List::new(list));
        }
        let kind = self.fields.get(&id).map(|field| field.kind);
        kind.map_or(Value::None, |kind| {
            value(kind, self.contents, self.event_type)
        })
    }
}

fn value(kind: FieldKind, contents: Contents, turn: u32) -> Value<'static> {
    const LONG: &[u8] = &[b'/'; 5000];
    const NO_TEXT: &[u8] = b"\xff\xfe\0 a\x80 \xf0\x9f";
    let strange = contents == Contents::Strange;
    let bytes = match (strange, turn % 3) {
        (false, _) => &b""[..],
        (_, 0) => LONG,
        (_, 1) => NO_TEXT,
        _ => b"%s{}[]\"'\\",
    };
    match kind {
        FieldKind::Bool => Value::Bool(strange),
        FieldKind::I64 => Value::I64(if strange { i64::MIN } else { 0 }),
        FieldKind::U64 => Value::U64(if strange { u64::MAX } else { 0 }),
        FieldKind::F64 => Value::F64(if strange { f64::NAN } else { 0.0 }),
        FieldKind::String => Value::String(bytes),
        FieldKind::Bytes => Value::Bytes(bytes),
        FieldKind::Ip if strange => Value::Ip(IpAddr::V6(Ipv6Addr::from(u128::MAX))),
        FieldKind::Ip => Value::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        FieldKind::Any if turn.is_multiple_of(2) => Value::U64(u64::from(turn)),
        FieldKind::Any => Value::String(bytes),
    }
}

fn events(
    host: &mut RuleHost,
    fields: &HashMap<u32, ResolvedField>,
    contents: Contents,
) -> Verdict {
    let lists: HashMap<u32, Vec<RawValue<'static>>> = fields
        .iter()
        .filter(|(_, field)| field.list || field.any)
        .map(|(id, field)| {
            let one = RawValue::from(value(field.kind, contents, 1));
            let many = if contents == Contents::Empty { 0 } else { 100 };
            (*id, vec![one; many])
        })
        .collect();
    let mut matches = Vec::new();
    let mut matched = 0;
    for event_type in 0..EVENTS {
        let event = Made {
            event_type,
            contents,
            fields,
            lists: &lists,
        };
        host.on_event(&event, &mut matches);
        matched += matches.len();
        if let Some(reason) = host.off() {
            return Verdict::Bad(format!("it panicked: {reason}"));
        }
    }
    Verdict::Note(format!("{matched} matches of {EVENTS} events"))
}

/// An event of a type that no rule asks for, without fields: only the cost of the call remains.
pub(super) fn nothing() -> impl FieldSource {
    struct Nothing;
    impl FieldSource for Nothing {
        fn event_type(&self) -> u32 {
            u32::MAX
        }

        fn get(&self, _id: u32) -> Value<'_> {
            Value::None
        }
    }
    Nothing
}
