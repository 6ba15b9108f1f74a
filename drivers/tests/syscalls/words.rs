//! From the words of a scene and the kinds of the parameters to the six registers.

use driver_api::table::{Buffer, Category, Kind, Len, LenFrom, Number, Written};

use crate::actor::Actor;
use crate::arena::wide;
use crate::exec;
use crate::script::{Case, Pointers, is_memory};

/// Elements of an array that is described element by element.
const FEW: u64 = 2;

/// The registers of a case.
pub(crate) fn args(actor: &mut Actor, case: &Case) -> [u64; 6] {
    let mut args = [0_u64; 6];
    let word = |at: usize| case.words.get(at).map(String::as_str).filter(|w| *w != "_");
    // numbers first: they choose what the others are
    for (at, param) in case.call.params.iter().enumerate() {
        let value = match word(at) {
            Some(word) => value(actor, case, word),
            None => number(case, at, &param.kind),
        };
        set(&mut args, case, at, value);
    }
    for (at, param) in case.call.params.iter().enumerate() {
        let kind = chosen(case, &args, param.kind);
        let points = is_memory(&kind);
        if points && case.pointers != Pointers::Good {
            let value = match case.pointers {
                Pointers::Bad => actor.arena.bad(),
                _ => 0,
            };
            set(&mut args, case, at, value);
        } else if word(at).is_none() && (points || matches!(kind, Kind::Number(Number::Ptr, _))) {
            let value = if points {
                memory(actor, case, at, &kind)
            } else {
                actor.arena.pattern() + 8
            };
            set(&mut args, case, at, value);
        }
    }
    args
}

fn chosen(case: &Case, args: &[u64; 6], kind: Kind) -> Kind {
    let Kind::By(variant, selectors) = kind else {
        return kind;
    };
    let value = |at: usize| {
        selectors.get(at).map_or(0, |at| {
            args[case.call.register(case.abi, usize::from(*at))] as u32
        })
    };
    variant.meaning(value(0), value(1)).kind
}

fn narrow(case: &Case) -> bool {
    driver_api::table::is_narrow(case.abi, case.nr)
}

/// Puts a value into its register, or its two.
fn set(args: &mut [u64; 6], case: &Case, at: usize, value: u64) {
    let register = case.call.register(case.abi, at);
    let is_i386 = narrow(case);
    let param = &case.call.params[at];
    let width = param.kind.width().map_or(8, |width| width.bytes(is_i386));
    let value = if case.dirty && width < 8 {
        let taken = !(u64::MAX << (8 * width));
        value & taken | 0xdead_beef_dead_beef & !taken
    } else {
        value
    };
    args[register] = if is_i386 { value & 0xffff_ffff } else { value };
    if param.is_pair(is_i386) {
        args[register + 1] = value >> 32;
        if matches!(param.kind, Kind::Number(Number::HighLow, _)) {
            args.swap(register, register + 1);
        }
    }
}

/// A number of its own for each parameter, which does no harm.
fn number(case: &Case, at: usize, kind: &Kind) -> u64 {
    let n = at as u64;
    let counts = |len: &Len| matches!(len.from, LenFrom::Arg(of) if usize::from(of) == at);
    let counted = case.call.params.iter().any(|param| match &param.kind {
        Kind::Buffer(Buffer::Iovec | Buffer::Mmsghdr, len)
        | Kind::Pointers(_, len)
        | Kind::Array(_, len) => counts(len),
        _ => false,
    });
    if counted {
        return FEW;
    }
    let number = match kind {
        Kind::Flags(..) | Kind::Enum(..) => return 0x5_0500 + n,
        Kind::Number(number, width) if *width != number.width() => return 0x5_0500 + n,
        Kind::Number(number, _) => number,
        _ => return 0x1a0 + n,
    };
    match number {
        Number::Fd => -1_i64 as u64,
        Number::DirFd => -100_i64 as u64,
        Number::Pid => 0x4f_fff0 + n,
        Number::Hex => 0xbe_ef00 + n,
        Number::Loff | Number::OffPair | Number::HighLow => (0x77 + n) << 32 | (0x1000 + n),
        Number::I32 if case.call.category == Category::Ipc => 0x7fff_ff00 + n,
        Number::I32
        | Number::U32
        | Number::I64
        | Number::U64
        | Number::Long
        | Number::Ulong
        | Number::Size
        | Number::Size32 => 64 + n,
        _ => 0x1a0 + n,
    }
}

/// What a word stands for. `scenes.tbl` explains them.
fn value(actor: &mut Actor, case: &Case, word: &str) -> u64 {
    if let Some(number) = literal(word) {
        return number;
    }
    let (verb, rest) = word.split_once(':').unwrap_or((word, ""));
    let count = || rest.parse::<usize>().expect("a number of bytes");
    match verb {
        "fd" => i64::from(actor.scenery.fd(rest)).cast_unsigned(),
        "self" => std::process::id().into(),
        "null" => 0,
        "bad" => actor.arena.bad(),
        "edge" => actor.arena.edge(count()),
        "buf" => {
            assert!(count() <= crate::arena::SLOT, "a slot is large enough");
            actor.arena.pattern()
        }
        "zero" => actor.arena.hold(&[]),
        "map" => actor.scenery.map(count()),
        "path" => {
            let path = actor.scenery.path(rest);
            text(actor, &path)
        }
        "str" => text(actor, rest.as_bytes()),
        "long" => {
            let long = vec![b'l'; 5000];
            text(actor, &long)
        }
        "exe" => {
            let exe = std::fs::read_link("/proc/self/exe").expect("/proc is mounted");
            text(actor, exe.as_os_str().as_encoded_bytes())
        }
        "argv" => strings(actor, case, &exec::ARGV),
        "envp" => strings(actor, case, &exec::ENVP),
        "addr" => {
            let address = actor.scenery.address(rest);
            actor.arena.hold(&address)
        }
        "len" => actor.scenery.address(rest).len() as u64,
        "u16" | "u32" | "u64" | "w" => {
            let mut bytes = Vec::new();
            for one in rest.split(',') {
                let number = value(actor, case, one);
                match verb {
                    "u16" => bytes.extend((number as u16).to_ne_bytes()),
                    "u32" => bytes.extend((number as u32).to_ne_bytes()),
                    "u64" => bytes.extend(number.to_ne_bytes()),
                    _ => bytes.extend(wide(case.abi, case.nr, number)),
                }
            }
            actor.arena.hold(&bytes)
        }
        "aio" => {
            let number = actor.arena.hold(&[]);
            actor.scenery.aio(case.abi, number)
        }
        "iocb" => {
            let fd = actor.scenery.fd(rest) as u64;
            let buffer = actor.arena.pattern();
            // aio_data, key and flags, IOCB_CMD_PREAD with the descriptor, buffer, length, offset
            let words = [7, 0, fd << 32, buffer, 64, 0, 0, 0];
            actor.arena.hold(&words.map(u64::to_ne_bytes).concat())
        }
        "msg" => sent(actor, case, rest),
        "msgs" => {
            let (count, room) = rest.split_once('/').unwrap_or((rest, "0"));
            let (count, room) = (literal(count).unwrap_or(0), literal(room).unwrap_or(0));
            let mut words = Vec::new();
            for index in 0..count {
                let name = if room > 0 { actor.arena.pattern() } else { 0 };
                let iov = iovec(actor, case, &[5, 40]);
                words.extend([name, room * (index + 1), iov, 2, 0, 0, 0, 0]);
            }
            actor.arena.words(case.abi, case.nr, &words)
        }
        "bare" => actor.arena.words(case.abi, case.nr, &[0; 16]),
        "queue" | "sems" | "shm" | "timer" | "child" => actor.scenery.object(verb),
        "iov" => {
            let lens: Vec<u64> = rest.split(',').filter_map(literal).collect();
            iovec(actor, case, &lens)
        }
        other => panic!("scenes.tbl has a word that means nothing: {other}"),
    }
}

fn literal(word: &str) -> Option<u64> {
    if let Some(digits) = word.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    word.parse::<i64>().ok().map(i64::cast_unsigned)
}

fn text(actor: &mut Actor, text: &[u8]) -> u64 {
    actor.arena.hold(&[text, b"\0"].concat())
}

fn strings(actor: &mut Actor, case: &Case, all: &[&str]) -> u64 {
    let mut words: Vec<u64> = all.iter().map(|one| text(actor, one.as_bytes())).collect();
    words.push(0);
    actor.arena.words(case.abi, case.nr, &words)
}

fn iovec(actor: &mut Actor, case: &Case, lens: &[u64]) -> u64 {
    let words: Vec<u64> = lens
        .iter()
        .flat_map(|len| [actor.arena.pattern(), *len])
        .collect();
    actor.arena.words(case.abi, case.nr, &words)
}

/// A `struct msghdr` with control messages: `rights`, a descriptor to pass; `room`, space for some; a number, space for so
/// many bytes of a name, and for none.
fn sent(actor: &mut Actor, case: &Case, what: &str) -> u64 {
    let iov = iovec(actor, case, &[5, 90]);
    let (name, name_len, control, len) = if what == "room" {
        (actor.arena.pattern(), 128, actor.arena.pattern(), 64)
    } else if let Some(room) = literal(what) {
        (actor.arena.pattern(), room, 0, 0)
    } else {
        let fd = actor.scenery.fd("file");
        let head = if narrow(case) { 12 } else { 16 };
        let mut bytes = wide(case.abi, case.nr, head + 4);
        for number in [libc::SOL_SOCKET, libc::SCM_RIGHTS, fd] {
            bytes.extend(number.to_ne_bytes());
        }
        (
            0,
            0,
            actor.arena.hold(&bytes),
            (head + 4).next_multiple_of(if narrow(case) { 4 } else { 8 }),
        )
    };
    actor.arena.words(
        case.abi,
        case.nr,
        &[name, name_len, iov, 2, control, len, 0],
    )
}

/// The words of a `struct msghdr` with a name, two buffers and no control messages.
fn message(actor: &mut Actor, case: &Case) -> [u64; 7] {
    let name = actor.arena.pattern();
    let iov = iovec(actor, case, &[7, 90]);
    [name, 16, iov, 2, 0, 0, 0]
}

/// Memory as the kind wants it.
fn memory(actor: &mut Actor, case: &Case, at: usize, kind: &Kind) -> u64 {
    let param = &case.call.params[at];
    // a number that says how long another parameter is
    let tells = case.call.params.iter().enumerate().any(|(other, param)| {
        other != at
            && match param.kind {
                Kind::Buffer(Buffer::SockAddr | Buffer::Bytes | Buffer::SockOption, len)
                | Kind::Struct(_, Some(len)) => {
                    matches!(len.from, LenFrom::At(of) if usize::from(of) == at)
                }
                Kind::By(..) => {
                    matches!(kind, Kind::Array(..)) && case.call.name.ends_with("sockopt")
                }
                _ => false,
            }
    });
    if tells {
        return actor.arena.hold(&24_u32.to_ne_bytes());
    }
    match kind {
        Kind::Str | Kind::Path(_) => {
            let marker = format!("/nonexistent/lanner-{}-{}", case.call.name, param.name);
            text(actor, marker.as_bytes())
        }
        Kind::Strv => {
            let (one, two) = (format!("{}-0", param.name), format!("{}-1", param.name));
            strings(actor, case, &[&one, "", &two])
        }
        Kind::Buffer(Buffer::Iovec, _) => iovec(actor, case, &[5, 90]),
        Kind::Pointers(..) => {
            let words = [actor.arena.pattern(), actor.arena.pattern()];
            actor.arena.words(case.abi, case.nr, &words)
        }
        Kind::SigArg => {
            let words = [actor.arena.pattern(), 8];
            actor.arena.words(case.abi, case.nr, &words)
        }
        Kind::Msghdr => {
            let words = message(actor, case);
            actor.arena.words(case.abi, case.nr, &words)
        }
        Kind::Buffer(Buffer::Mmsghdr, _) => {
            let mut words = Vec::new();
            for _ in 0..FEW {
                words.extend(message(actor, case));
                words.push(3);
            }
            actor.arena.words(case.abi, case.nr, &words)
        }
        _ if param.written == Written::Success => actor.arena.pattern(),
        _ => actor.arena.pattern(),
    }
}
