//! What the event of a successful exec must contain.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use driver_api::event::{Fact, Part, Status};

use crate::actor::Actor;
use crate::reference::{self, Made};
use crate::script::Case;
use crate::truth::Want;

/// The arguments of the program that the script runs.
pub(crate) const ARGV: [&str; 3] = ["lanner-actor", "--actor", "--nothing"];
/// Its environment.
pub(crate) const ENVP: [&str; 2] = ["LANNER_SUITE=exec", "EMPTY="];

fn strings(all: &[&str]) -> Vec<u8> {
    all.iter()
        .flat_map(|one| [one.as_bytes(), b"\0"].concat())
        .collect()
}

/// The memory that the arguments point to, and the facts of the new program.
pub(crate) fn wants(actor: &Actor, case: &Case, args: [u64; 6]) -> Vec<Want> {
    let mut wants = reference::wants(&Made {
        arena: &actor.arena,
        call: case.call,
        abi: case.abi,
        nr: case.nr,
        args,
        ret: 0,
        limits: actor.limits,
    });
    let link = |name: &str| {
        fs::read_link(name)
            .expect("/proc is mounted")
            .into_os_string()
    };
    let exe = link("/proc/self/exe").into_vec();
    let name = exe.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let comm = OsStr::from_bytes(&name[..name.len().min(15)]).to_owned();
    let facts = [
        (Fact::Exe, exe.clone()),
        (Fact::Cwd, link("/proc/self/cwd").into_vec()),
        (Fact::Comm, comm.into_vec()),
        (Fact::Argv, strings(&ARGV)),
        (Fact::Env, strings(&ENVP)),
    ];
    wants.extend(
        facts.map(|(fact, bytes)| Want::new(fact as u8, Part::None, 0, Status::Whole, 0, bytes)),
    );
    wants
}
