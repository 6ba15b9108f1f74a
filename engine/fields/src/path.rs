//! Functions of `fs.path.*`: the paths that calls act on.

use driver_api::table::{Category, Kind};

use lanner_plugin::Value;

use super::event::{has_failed, text_of};
use super::process::text;
use super::view::View;

/// A path among the parameters of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathParam {
    pub(super) at: usize,
    /// The descriptor it is relative to.
    dirfd: Option<usize>,
}

/// Which path of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// The only one.
    Name,
    /// What is moved or linked.
    Source,
    /// Where to.
    Target,
}

/// Calls with two paths: name, source, target. A link's source is the link, its target what it
/// leads to, as Falco has it.
const TWO_PATHS: &[(&str, &str, &str)] = &[
    ("rename", "oldpath", "newpath"),
    ("renameat", "oldpath", "newpath"),
    ("renameat2", "oldpath", "newpath"),
    ("link", "newpath", "oldpath"),
    ("linkat", "newpath", "oldpath"),
    ("symlink", "linkpath", "target"),
    ("symlinkat", "linkpath", "target"),
    ("mount", "dev", "dir"),
];

fn param(view: &View<'_>, name: &str) -> Option<PathParam> {
    let (at, param) = view.seen.call?.param(name)?;
    let dirfd = match param.kind {
        Kind::Path(dirfd) => dirfd.map(usize::from),
        _ => None,
    };
    Some(PathParam { at, dirfd })
}

/// The path of a call that opens a file.
pub(super) fn of_open(view: &View<'_>) -> Option<PathParam> {
    param(view, "path")
}

fn which(view: &View<'_>, which: Which) -> Option<PathParam> {
    let call = view.seen.call?;
    let two = TWO_PATHS.iter().find(|(name, ..)| *name == call.acts_as);
    match (which, two) {
        (Which::Source, Some((_, source, _))) => param(view, source),
        (Which::Target, Some((.., target))) => param(view, target),
        (Which::Name, None) if call.category == Category::File || call.name == "umount2" => {
            let at = call
                .params
                .iter()
                .position(|param| matches!(param.kind, Kind::Path(_)))?;
            param(view, call.params[at].name)
        }
        _ => None,
    }
}

/// A path as it is seen from the root, by its letters.
pub(super) fn resolved<'a>(view: &View<'a>, param: PathParam) -> Option<&'a [u8]> {
    let said = text_of(view, &view.event.argument(param.at)?);
    let base = param
        .dirfd
        .map(|at| inspect::fd_in(view.event.header().args[at]));
    let key = view.seen.process?;
    let base: &[u8] = match base.filter(|fd| *fd != inspect::AT_FDCWD) {
        Some(fd) => view
            .inspector
            .descriptor_of(key, fd)
            .map_or(&[], |d| &d.name),
        None => view.process().map_or(&[], |process| &process.cwd),
    };
    Some(
        view.scratch
            .bytes(|out| inspect::path::resolve(base, said, out)),
    )
}

/// A path of a call that succeeded.
pub(super) fn path<'a>(view: &View<'a>, wanted: Which, raw: bool) -> Value<'a> {
    if has_failed(view.event) {
        return Value::None;
    }
    if let Some(param) = which(view, wanted) {
        return text(if raw {
            view.event
                .argument(param.at)
                .map(|said| text_of(view, &said))
        } else {
            resolved(view, param)
        });
    }
    let by_descriptor = matches!(view.seen.call.map(|c| c.name), Some("fchmod" | "fchown"));
    if wanted == Which::Name && by_descriptor {
        return text(view.descriptor().map(|descriptor| &*descriptor.name));
    }
    Value::None
}

/// The path of a call, absolute, whether or not it succeeded.
pub(super) fn absolute<'a>(view: &View<'a>, wanted: Which) -> Value<'a> {
    let param = match wanted {
        Which::Name => view.seen.call.and_then(|call| {
            let at = call
                .params
                .iter()
                .position(|p| matches!(p.kind, Kind::Path(_)))?;
            param(view, call.params[at].name)
        }),
        other => which(view, other),
    };
    text(param.and_then(|param| resolved(view, param)))
}
