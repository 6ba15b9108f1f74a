//! Writes seeds into the folder CORPUS/TARGET of each fuzz target: an event for each call of the table, recordings of such
//! events, the default rules and their tests, settings.

use std::path::Path;
use std::{env, fs};

use driver_api::event::{Abi, Encoding, EventBuilder, EventKind, Fact, Header, Part, Status};
use driver_api::table::SYSCALLS;
use inspect::Clock;
use recording::Writer;

const RECORDED_EVENTS: usize = 16;

const SCHEMA: &str = r##"{"type":"object","additionalProperties":false,"required":["url"],"properties":{
    "url":{"type":"string"},"timeout":{"type":"integer","minimum":1},"batch":{"enum":["none","array"]},
    "headers":{"type":"object","additionalProperties":{"type":"string"}},"tls":{"$ref":"#/$defs/Tls"}},
    "$defs":{"Tls":{"type":"object","properties":{"ca_cert":{"type":["string","null"]}}}}}"##;

fn main() {
    let corpus = env::args_os().nth(1).expect("usage: seeds CORPUS");
    let corpus = Path::new(&corpus);
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder).expect("make a folder");
        fs::write(folder.join(name), bytes).expect("write a seed");
    };

    let mut events = Vec::new();
    for call in SYSCALLS {
        for abi in [Abi::X86_64, Abi::I386] {
            let Some(nr) = call.number(abi) else { continue };
            let header = Header {
                kind: EventKind::Syscall as u8,
                abi: abi as u8,
                nr,
                tgid: 4711,
                tid: 4711,
                args: [3, 0x1000, 64, 1, 0x2000, 8],
                ret: 3,
                ..Header::default()
            };
            let mut builder = EventBuilder::new();
            builder.begin(&header);
            for argument in 0..6 {
                let bytes: &[u8] = b"\x02\0\x01\xbb/etc/passwd\0\0a=b\0";
                builder.attach(argument, Part::None, Status::Whole, Encoding::Raw, 0, bytes);
            }
            let event = builder.finish().expect("an event").to_vec();
            let name = format!("seed-{}-{}", call.name, abi.name());
            put("records", &name, &event);
            put("decode", &name, &event);
            events.push(event);
        }
    }

    fs::create_dir_all(corpus.join("recording")).expect("make a folder");
    for (number, some) in events.chunks(RECORDED_EVENTS).enumerate() {
        let path = corpus.join(format!("recording/seed-{number}"));
        let file = fs::File::create(&path).expect("write a recording");
        let mut writer = Writer::new(file, Clock::fixed(0)).expect("write a recording");
        for event in some {
            let event = driver_api::event::Event::parse(event).expect("an event");
            writer.event(&event).expect("write a recording");
        }
        writer.flush().expect("write a recording");
    }

    fs::write(corpus.join("recording/seed-reports"), reports()).expect("write a recording");
    put("scap", "seed", &capture());

    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules");
    for entry in fs::read_dir(rules).expect("the folder of rules") {
        let path = entry.expect("the folder of rules").path();
        let text = fs::read_to_string(&path).expect("a rule file");
        // Small seeds mutate best: each item of a file is a rule file.
        for (number, item) in text.split("\n- ").enumerate() {
            let item = if number == 0 {
                item.to_owned()
            } else {
                format!("- {item}")
            };
            let name = path
                .file_stem()
                .and_then(|name| name.to_str())
                .expect("a name");
            put("rules", &format!("seed-{name}-{number}"), item.as_bytes());
        }
    }

    for (number, settings) in [
        r#"{"url":"https://example.com/","timeout":5,"tls":{"ca_cert":null}}"#,
        r#"{"ulr":"x","headers":{"a":1}}"#,
        "[",
        "",
    ]
    .iter()
    .enumerate()
    {
        let seed = format!("{SCHEMA}\0{settings}");
        put(
            "plugin_manifest",
            &format!("seed-{number}"),
            seed.as_bytes(),
        );
    }
    let program = fs::read("/proc/self/exe").expect("this program");
    put("plugin_manifest", "seed-elf", &program[..64]);
}

/// A recording without calls: it has users, groups, and a process with its cgroups and container.
fn reports() -> Vec<u8> {
    let id = "a".repeat(64);
    let group = format!("4:freezer:/docker/{id}\n");
    let answer = format!(
        r#"{{"container":{{"id":"{}","name":"n","image":"i","labels":{{"a":"b"}},"Mounts":[{{"RW":true}}]}}}}"#,
        &id[..12]
    );
    let mut bytes = Vec::new();
    let mut writer = Writer::to(&mut bytes, Clock::fixed(0));
    let mut builder = EventBuilder::new();
    let users = "root:x:0:0::/root:/bin/sh\n".to_owned();
    let groups = "root:x:0:\n".to_owned();
    for (fact, text, pid) in [
        (Fact::Users, &users, 0),
        (Fact::Groups, &groups, 0),
        (Fact::Cgroups, &group, 7),
        (Fact::Container, &answer, 0),
    ] {
        let report = inspect::Report {
            fact,
            text: text.as_bytes(),
            pid,
            cgroup: 0,
            time_ns: 1,
        };
        let event = report.event(&mut builder).expect("an event");
        writer.event(&event).expect("write a recording");
    }
    writer.finish().expect("write a recording");
    drop(writer);
    bytes
}

/// A small capture of Falco's: a section, a thread in the first version of the list, the entry and the return of an open.
fn capture() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let padded = body.len().next_multiple_of(4);
        let len = u32::try_from(padded + 12)
            .expect("a small block")
            .to_le_bytes();
        bytes.extend(kind.to_le_bytes());
        bytes.extend(len);
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len() + padded - body.len(), 0);
        bytes.extend(len);
    };
    let long = |value: u64| value.to_le_bytes();
    block(
        0x0a0d_0d0a,
        &[
            &0x1a2b_3c4d_u32.to_le_bytes()[..],
            &[1, 0, 2, 0],
            &[0xff; 8],
        ]
        .concat(),
    );
    let thread = [
        &long(7)[..],
        &long(7),
        &long(1),
        b"\x02\0sh\x02\0sh\x03\0-c\0\x01\0/",
        &[0; 8 + 4 + 4 + 4],
    ];
    block(0x202, &thread.concat());
    let event = |kind: u16, params: &[&[u8]]| {
        let inner: usize = params.iter().map(|param| param.len() + 2).sum();
        let len = u32::try_from(26 + inner).expect("a small event");
        let count = u32::try_from(params.len()).expect("few parameters");
        let mut body = [&[0, 0][..], &long(1), &long(7), &len.to_le_bytes()].concat();
        body.extend(kind.to_le_bytes());
        body.extend(count.to_le_bytes());
        for param in params {
            body.extend(
                u16::try_from(param.len())
                    .expect("a small one")
                    .to_le_bytes(),
            );
        }
        body.extend(params.concat());
        body
    };
    block(
        0x216,
        &event(306, &[&long(3), b"x\0", &[1, 16, 0, 0], &[0; 4]]),
    );
    block(
        0x216,
        &event(307, &[&long(4), &long(3), b"x\0", &[1, 16, 0, 0], &[0; 4]]),
    );
    let moved = format!("7 4:freezer:/docker/{}\0", "a".repeat(64));
    block(0x216, &event(280, &[b"lanner.cgroups\0", moved.as_bytes()]));
    bytes
}

/// What instrumented code calls. The flags of `tools/fuzz` instrument every crate, and this program has no libFuzzer.
macro_rules! callbacks {
    ($($name:ident($($kind:ty),*);)*) => {
        $(
            // SAFETY: no other function of this program has this name, and callers expect nothing of it.
            #[unsafe(no_mangle)]
            extern "C" fn $name($(_: $kind),*) {}
        )*
    };
}

callbacks! {
    __sanitizer_cov_8bit_counters_init(*const u8, *const u8);
    __sanitizer_cov_pcs_init(*const usize, *const usize);
    __sanitizer_cov_trace_pc_indir(usize);
    __sanitizer_cov_trace_cmp1(u8, u8);
    __sanitizer_cov_trace_cmp2(u16, u16);
    __sanitizer_cov_trace_cmp4(u32, u32);
    __sanitizer_cov_trace_cmp8(u64, u64);
    __sanitizer_cov_trace_const_cmp1(u8, u8);
    __sanitizer_cov_trace_const_cmp2(u16, u16);
    __sanitizer_cov_trace_const_cmp4(u32, u32);
    __sanitizer_cov_trace_const_cmp8(u64, u64);
    __sanitizer_cov_trace_switch(u64, *const u64);
}
