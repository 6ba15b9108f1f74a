//! Paths that calls act on: `fs.path.*`, `evt.abspath`, and parameters that are paths.

use std::borrow::Cow;

use driver_api::event::{Abi, Fact, Flags, Status};
use driver_api::table::{Category, Kind, LastLink, Param, Syscall};

use lanner_plugin::Value;

use super::event::{has_failed, open_flags, takes_no_existing, text_of};
use super::process::text;
use super::view::View;

/// A path among the parameters of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathParam {
    pub(super) at: usize,
    base: Base,
}

/// Where a relative path begins.
#[derive(Debug, Clone, Copy)]
enum Base {
    /// At the working directory.
    Cwd,
    /// At the directory behind the descriptor in this parameter.
    Descriptor(usize),
    /// In the directory of the symbolic link whose path is this parameter.
    Link(usize),
}

/// The result of a call that is not permitted.
const EPERM: i64 = -1;

/// Which path of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// The path of a call that has one path.
    Name,
    /// The path that is renamed, mounted or linked.
    Source,
    /// The new path, the mount point, or the path that a link leads to.
    Target,
}

fn param_at(call: &Syscall, at: usize) -> Option<PathParam> {
    let base = match call.params.get(at)?.kind {
        Kind::Path(Some(descriptor)) => Base::Descriptor(descriptor.into()),
        _ => Base::Cwd,
    };
    Some(PathParam { at, base })
}

fn param(view: &View<'_>, name: &str) -> Option<PathParam> {
    let call = view.seen.call?;
    let (at, _) = call.param(name)?;
    param_at(call, at)
}

fn first_path(call: &Syscall) -> Option<PathParam> {
    let is_path = |param: &Param| matches!(param.kind, Kind::Path(_));
    param_at(call, call.params.iter().position(is_path)?)
}

/// The path of a call that opens a file.
pub(super) fn of_open(view: &View<'_>) -> Option<PathParam> {
    param(view, "path")
}

fn which(view: &View<'_>, which: Which) -> Option<PathParam> {
    let call = view.seen.call?;
    match (which, call.paths) {
        (Which::Source, Some((source, _))) => param_at(call, source.into()),
        (Which::Target, Some((source, target))) => {
            let (source, target) = (usize::from(source), usize::from(target));
            let mut found = param_at(call, target)?;
            // Falco has no value for a relative target of symlinkat(2), and begins that of symlink(2) at the working
            // directory; the kernel begins both in the link's directory
            if matches!(call.params.get(source)?.kind, Kind::Path(Some(_)))
                && matches!(call.params.get(target)?.kind, Kind::Str)
            {
                found.base = Base::Link(source);
            }
            Some(found)
        }
        (Which::Name, None) if call.category == Category::File || tells_base(call) => {
            first_path(call)
        }
        (Which::Source | Which::Target, None) | (Which::Name, _) => None,
    }
}

/// Whether the kernel says where the call's path begins.
fn tells_base(call: &Syscall) -> bool {
    call.facts.iter().any(|fact| fact.fact == Fact::Base)
}

/// A string as the program passed it. None: the kernel could not read it.
pub(super) fn said<'a>(view: &View<'a>, at: usize) -> Option<&'a [u8]> {
    let said = view.event.argument(at)?;
    (said.status != Status::Fault).then(|| text_of(view, &said))
}

/// The path of a call. Without one, a call that takes a descriptor is about what that refers to, as with an empty path
/// (utimensat(2), statx(2)).
fn named<'a>(view: &View<'a>, param: PathParam) -> Option<&'a [u8]> {
    let by_descriptor = || {
        let register = view.seen.call?.register(view.event.abi(), param.at);
        let is_null = view.event.header().args.get(register) == Some(&0);
        let is_known = !view.event.lacks(register);
        let has_base = matches!(param.base, Base::Descriptor(_));
        (is_null && is_known && has_base && !has_failed(view.event)).then_some(&[][..])
    };
    said(view, param.at).or_else(by_descriptor)
}

/// The directory at which the kernel began to resolve a path of the call, as the driver saw it. `said` is the path.
fn seen_base<'a>(view: &View<'a>, at: usize, said: &[u8]) -> Option<&'a [u8]> {
    let call = view.seen.call?;
    let params = call.params;
    let is_path = |param: &&Param| matches!(param.kind, Kind::Path(_));
    if !is_path(&params.get(at)?) {
        // what is mounted need not be a path, but an absolute one begins where all paths of the call begin
        let is_source = call
            .paths
            .is_some_and(|(source, _)| usize::from(source) == at);
        let begins_at_root = is_source && said.starts_with(b"/");
        return begins_at_root
            .then(|| view.event.fact(Fact::Root).map(|fact| text_of(view, &fact)))?;
    }
    let earlier = params[..at].iter().filter(is_path).count();
    let fact = match (said.first(), earlier) {
        (Some(b'/'), _) => Fact::Root,
        (_, 0) => Fact::Base,
        (_, 1) => Fact::Base2,
        _ => return None,
    };
    view.event.fact(fact).map(|fact| text_of(view, &fact))
}

/// The root directory that chroot(2) has set.
fn new_root<'a>(view: &View<'a>) -> Option<&'a [u8]> {
    let sets = |call: &&Syscall| call.facts.iter().any(|fact| fact.fact == Fact::Root);
    view.seen.call.filter(sets)?;
    view.event.fact(Fact::Root).map(|fact| text_of(view, &fact))
}

/// A path, made absolute without access to files. It stays relative if its directory is not known.
pub(super) fn resolved<'a>(view: &View<'a>, param: PathParam) -> Option<&'a [u8]> {
    let said = named(view, param)?;
    if let Some(root) = new_root(view) {
        return Some(root);
    }
    // after chdir(2), the path is the working directory
    let has_returned = !has_failed(view.event) && !view.event.has(Flags::ENTRY);
    if has_returned && view.seen.call.is_some_and(inspect::is_chdir) {
        let process = view.process();
        return process.map(|process| view.inspector.cwd(process, view.seen.tid));
    }
    joined(view, param, said)
}

/// A path as it was when the call was entered, made absolute without access to files.
fn joined<'a>(view: &View<'a>, param: PathParam, said: &[u8]) -> Option<&'a [u8]> {
    let base = base_of(view, param, said)?;
    if said.starts_with(b"/") {
        return Some((view.scratch).bytes(|out| inspect::path::resolve_below(base, said, out)));
    }
    let root = view.inspector.root(view.process()?, view.seen.tid);
    Some((view.scratch).bytes(|out| inspect::path::resolve_within(&root, base, said, out)))
}

/// The directory at which a path of the call begins; for an absolute path, the root directory. Empty: the directory is not
/// known, or is the root of the mount namespace. None: the process is not known.
fn base_of<'a>(view: &View<'a>, param: PathParam, said: &[u8]) -> Option<&'a [u8]> {
    let key = view.seen.process?;
    if let Some(base) = seen_base(view, param.at, said) {
        return Some(base);
    }
    if said.starts_with(b"/") {
        return Some(match view.inspector.root(view.process()?, view.seen.tid) {
            Cow::Borrowed(root) => root,
            Cow::Owned(root) => view.scratch.bytes(|out| out.extend_from_slice(&root)),
        });
    }
    let cwd = || {
        view.process().map_or(&[][..], |process| {
            view.inspector.cwd(process, view.seen.tid)
        })
    };
    Some(match param.base {
        Base::Cwd => cwd(),
        Base::Descriptor(at) => match inspect::fd_in(view.event.header().args[at]) {
            inspect::AT_FDCWD => cwd(),
            fd => (view.inspector.descriptor_of(key, view.seen.tid, fd))
                .map_or(&[], |directory| &directory.name),
        },
        Base::Link(at) => {
            let link = resolved(view, param_at(view.seen.call?, at)?)?;
            let end = link.iter().rposition(|&b| b == b'/').unwrap_or(0);
            &link[..end.max(1).min(link.len())]
        }
    })
}

/// The kernel's path of the file that the call opened.
fn opened<'a>(view: &View<'a>) -> Option<&'a [u8]> {
    let opens = |call: &&Syscall| {
        (call.facts.iter()).any(|fact| fact.fact == Fact::Path && fact.of.is_none())
    };
    view.seen.call.filter(opens)?;
    let path = view.event.fact(Fact::Path)?;
    Some(text_of(view, &path)).filter(|path| path.starts_with(b"/"))
}

/// `O_NOFOLLOW`
fn no_follow(abi: Abi) -> u64 {
    match abi {
        Abi::X86_64 | Abi::I386 | Abi::X32 => 0o400_000,
        Abi::Aarch64 | Abi::Arm => 0o100_000,
        Abi::IoUring => no_follow(Abi::NATIVE),
    }
}

/// Whether the kernel follows a symbolic link in the last component of the path.
fn follows_last(view: &View<'_>, at: usize) -> bool {
    let Some(call) = view.seen.call else {
        return false;
    };
    if let Some(flags) = open_flags(view) {
        return !takes_no_existing(flags) && flags & no_follow(view.event.abi()) == 0;
    }
    let has = |of: u8, mask: u64| {
        let header = view.event.header();
        let register = call.register(view.event.abi(), of.into());
        header
            .args
            .get(register)
            .is_some_and(|flags| flags & mask != 0)
    };
    match call.params.get(at).map(|param| param.last_link) {
        None | Some(LastLink::Kept) => false,
        Some(LastLink::Followed) => true,
        Some(LastLink::KeptIf(of, mask)) => !has(of, mask),
        Some(LastLink::FollowedIf(of, mask)) => has(of, mask),
    }
}

/// A path of a call that succeeded, behind the symbolic links in its directories, as the file system is now.
pub(super) fn real<'a>(view: &View<'a>, wanted: Which) -> Value<'a> {
    if has_failed(view.event) {
        return Value::None;
    }
    let found = || {
        let param = which(view, wanted)?;
        let said = named(view, param)?;
        if let Some(path) = opened(view) {
            return Some(path);
        }
        let changes = new_root(view).is_some() || view.seen.call.is_some_and(inspect::is_chdir);
        if changes {
            return resolved(view, param);
        }
        let base = base_of(view, param, said)?;
        let path = [base, b"/", said].concat();
        let process = view.process().filter(|_| path.starts_with(b"/"))?;
        let follows = follows_last(view, param.at);
        let mut known = false;
        let real = view.scratch.bytes(|out| {
            known = (view.inspector).real_path(process, view.seen.tid, &path, follows, out);
        });
        known.then_some(real)
    };
    text(found())
}

/// Whether a path that the call opens leads to this file, behind symbolic links, as the file system is now. False: also if
/// that cannot be found out.
pub(super) fn leads_to(view: &View<'_>, param: PathParam, named: &[u8], file: &[u8]) -> bool {
    let Some(process) = view.process() else {
        return false;
    };
    let follows = follows_last(view, param.at);
    let mut known = false;
    let real = view.scratch.bytes(|out| {
        known = (view.inspector).real_path(process, view.seen.tid, named, follows, out);
    });
    known && real == file
}

/// Whether one of the call's paths leads elsewhere than its letters say.
pub(super) fn real_differs<'a>(view: &View<'a>) -> Value<'a> {
    let mut known = false;
    for wanted in [Which::Name, Which::Source, Which::Target] {
        let (Value::String(real), Value::String(named)) =
            (real(view, wanted), path(view, wanted, false))
        else {
            continue;
        };
        known = true;
        if real != named {
            return Value::Bool(true);
        }
    }
    if known {
        Value::Bool(false)
    } else {
        Value::None
    }
}

/// A parameter that is a path, as Falco's `evt.arg` shows it: a relative path is made absolute, unless the call is
/// chdir(2); an absolute path stays as it is.
pub(super) fn argument<'a>(view: &View<'a>, at: usize) -> Option<&'a [u8]> {
    let said = said(view, at)?;
    let call = view.seen.call?;
    if said.is_empty() || said.starts_with(b"/") || inspect::is_chdir(call) {
        return Some(said);
    }
    let path = joined(view, param_at(call, at)?, said)?;
    if new_root(view).is_some() {
        return Some(path);
    }
    // like an absolute path, it begins at the root directory of the thread
    let root = view.inspector.root(view.process()?, view.seen.tid);
    Some(match path.strip_prefix(&*root) {
        Some(b"") if !root.is_empty() => b"/",
        Some(below) if below.starts_with(b"/") => below,
        Some(_) | None => path,
    })
}

/// A path of a call that succeeded. As in Falco, also that of an open that failed, except with `EPERM`.
pub(super) fn path<'a>(view: &View<'a>, wanted: Which, raw: bool) -> Value<'a> {
    let opens = open_flags(view).is_some() && view.event.header().ret != EPERM;
    if has_failed(view.event) && !opens {
        return Value::None;
    }
    if let Some(param) = which(view, wanted) {
        return text(if raw {
            said(view, param.at)
        } else {
            resolved(view, param)
        });
    }
    let by_descriptor = view.seen.call.is_some_and(|call| call.event_type().behind);
    if wanted == Which::Name && by_descriptor {
        return text(view.descriptor().map(|descriptor| &*descriptor.name));
    }
    Value::None
}

/// The absolute path of a call, also of one that failed.
pub(super) fn absolute<'a>(view: &View<'a>, wanted: Which) -> Value<'a> {
    let param = match wanted {
        Which::Name => view.seen.call.and_then(first_path),
        Which::Source | Which::Target => which(view, wanted),
    };
    text(param.and_then(|param| resolved(view, param)))
}
