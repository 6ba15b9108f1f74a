//! Clause 7: facts about directories of the thread, and about the file that was opened.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;

use driver_api::event::layout::FLAGS_UNKNOWN;
use driver_api::event::{Fact, OpenedFile};

use crate::Case;
use crate::stage::{Kept, Outcome, Stage, check, named, same};

pub(crate) const CASES: &[Case] = &[
    (
        &[7],
        "where a path begins is a fact, behind links, threads and descriptors",
        directories,
    ),
    (&[7], "the opened file is a fact", opened),
];

fn c(text: &str) -> CString {
    CString::new(text).expect("no NUL")
}

/// mkdirat(2) with a path that begins at a descriptor.
fn make_at(fd: i32, name: &str) {
    // SAFETY: the call reads the path, which outlives it.
    unsafe { libc::mkdirat(fd, c(name).as_ptr(), 0o700) };
}

/// Makes directories by paths that begin where links lead.
pub(crate) fn act(folder: &str) {
    let at = |name: &str| format!("{folder}/{name}");
    for name in ["real", "other", "jail"] {
        fs::create_dir(at(name)).expect("a directory can be made");
    }
    std::os::unix::fs::symlink("real", at("link")).expect("a link can be made");
    std::env::set_current_dir(at("link")).expect("the link leads to a directory");
    make_at(libc::AT_FDCWD, "from-link");
    // a thread shares the working directory (CLONE_FS)
    let other = at("other");
    let moved = thread::spawn(move || std::env::set_current_dir(other));
    moved
        .join()
        .expect("it ends")
        .expect("the directory is there");
    make_at(libc::AT_FDCWD, "from-thread");
    let (real, jail) = (c(&at("link")), c(&at("jail")));
    // SAFETY: the calls read their paths, which outlive them.
    unsafe {
        let fd = libc::open(real.as_ptr(), libc::O_PATH);
        make_at(fd, "from-descriptor");
        libc::renameat(
            fd,
            c("from-link").as_ptr(),
            libc::AT_FDCWD,
            c("renamed").as_ptr(),
        );
        libc::fchdir(fd);
        libc::mkdir(c(&at("absolute")).as_ptr(), 0o700);
        libc::chroot(jail.as_ptr());
        libc::mkdir(c("/in-jail").as_ptr(), 0o700);
    }
}

/// The paths that a call's facts are.
fn facts(event: &Kept, facts: &[Fact]) -> Vec<String> {
    let text = |fact: &Fact| {
        let found = event.event().fact(*fact);
        found.map_or("-".to_owned(), |fact| {
            String::from_utf8_lossy(&fact.text()).into_owned()
        })
    };
    facts.iter().map(text).collect()
}

fn folder() -> Result<(tempfile::TempDir, String), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let path = folder.path().canonicalize().map_err(|e| e.to_string())?;
    let path = path.to_str().unwrap_or_default().to_owned();
    Ok((folder, path))
}

fn directories(stage: &Stage) -> Outcome {
    const CALLS: [&str; 6] = ["mkdirat", "mkdir", "renameat", "chdir", "fchdir", "chroot"];
    let (_kept, folder) = folder()?;
    let (events, _) = stage.watch("directories", &[&folder], &CALLS)?;
    let at = |name: &str| format!("{folder}/{name}");
    let none = "-".to_owned();
    let find = |call: &'static str, said: (usize, &str)| {
        named(&events, call)
            .find(|event| event.text(said.0).as_deref() == Some(said.1))
            .ok_or(format!("the {call} of {} is missing", said.1))
    };
    for (name, base) in [
        ("from-link", at("real")),
        ("from-thread", at("other")),
        ("from-descriptor", at("real")),
    ] {
        let made = find("mkdirat", (1, name))?;
        same(
            name,
            &facts(made, &[Fact::Base, Fact::Base2, Fact::Root]),
            &vec![base, none.clone(), none.clone()],
        )?;
    }
    let renamed = find("renameat", (1, "from-link"))?;
    same(
        "renameat",
        &facts(renamed, &[Fact::Base, Fact::Base2]),
        &vec![at("real"), at("other")],
    )?;
    let absolute = find("mkdir", (0, &at("absolute")))?;
    same(
        "an absolute path",
        &facts(absolute, &[Fact::Base, Fact::Root]),
        &vec![none.clone(), none.clone()],
    )?;
    if stage.entry_only() {
        let early = named(&events, "chdir").any(|event| event.event().fact(Fact::Cwd).is_some());
        check(!early, || {
            "a directory before the call that enters it".to_owned()
        })?;
        return Ok(Some("gap: directories that a call enters".to_owned()));
    }
    for (said, entered) in [(at("link"), at("real")), (at("other"), at("other"))] {
        let entry = find("chdir", (0, &said))?;
        same(&said, &facts(entry, &[Fact::Cwd]), &vec![entered])?;
    }
    let entry = named(&events, "fchdir").next().ok_or("fchdir is missing")?;
    same("fchdir", &facts(entry, &[Fact::Cwd]), &vec![at("real")])?;
    let chroot = named(&events, "chroot").next().ok_or("chroot is missing")?;
    if chroot.header().ret != 0 {
        return Ok(Some("chroot needs root".to_owned()));
    }
    same("chroot", &facts(chroot, &[Fact::Root]), &vec![at("jail")])?;
    let inside = find("mkdir", (0, "/in-jail"))?;
    same(
        "below another root",
        &facts(inside, &[Fact::Base, Fact::Root]),
        &vec![none, at("jail")],
    )?;
    Ok(None)
}

/// Opens a file by openat2(2), whose flags are in memory, and a directory.
pub(crate) fn open(folder: &str) {
    let how = [
        (libc::O_RDWR | libc::O_APPEND | libc::O_CREAT) as u64,
        0o640,
        0,
    ];
    // SAFETY: the calls read their paths and the structure, which outlive them.
    unsafe {
        let path = c(&format!("{folder}/file"));
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            how.as_ptr(),
            size_of_val(&how),
        );
        libc::open(c(folder).as_ptr(), libc::O_RDONLY);
    }
}

fn opened(stage: &Stage) -> Outcome {
    let (_kept, folder) = folder()?;
    let (events, _) = stage.watch("opened", &[&folder], &["openat2", "openat"])?;
    if stage.entry_only() {
        let early = events.iter().any(|event| event.event().opened().is_some());
        check(!early, || "a file before it is opened".to_owned())?;
        return Ok(Some("gap: the opened file".to_owned()));
    }
    let kept = |file: &OpenedFile| (file.inode, file.device_numbers(), file.mode);
    let expected = |path: &str| {
        let found = fs::metadata(path).map_err(|e| e.to_string())?;
        let device = (libc::major(found.dev()), libc::minor(found.dev()));
        Ok::<_, String>((found.ino(), device, found.mode()))
    };
    let call = named(&events, "openat2")
        .next()
        .ok_or("openat2 is missing")?;
    if call.header().ret == -i64::from(libc::ENOSYS) {
        return Ok(Some("this kernel has no openat2".to_owned()));
    }
    let file = call.event().opened().ok_or("openat2 has no file")?;
    same(
        "the file",
        &kept(&file),
        &expected(&format!("{folder}/file"))?,
    )?;
    let flags = (libc::O_ACCMODE | libc::O_APPEND).cast_unsigned();
    same(
        "its flags",
        &(file.flags & flags),
        &(libc::O_RDWR | libc::O_APPEND).cast_unsigned(),
    )?;
    let directory = named(&events, "openat")
        .filter(|event| event.text(1).as_deref() == Some(folder.as_str()))
        .find_map(|event| event.event().opened())
        .ok_or("openat has no file")?;
    same("the directory", &kept(&directory), &expected(&folder)?)?;
    check(directory.is_directory(), || "it is no directory".to_owned())?;
    let reads = directory.flags == FLAGS_UNKNOWN
        || directory.flags & libc::O_ACCMODE.cast_unsigned() == libc::O_RDONLY.cast_unsigned();
    check(reads, || format!("flags {:#x}", directory.flags))?;
    Ok(None)
}
