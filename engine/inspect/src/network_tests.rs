//! Tests of where data goes: which ends the descriptor of an event has.

use driver_api::event::Abi;

use super::testing::{Ev, feed, isolated};
use super::{Connection, Inspector, Seen};

const UDP: i64 = 2;
const TCP: i64 = 1;
const FASTOPEN: i64 = 0x2000_0000;
/// Bits that the kernel ignores in an argument that is an int.
const GARBAGE: i64 = 0x0ead_beef << 32;

fn inet(last: u8, port: u16) -> Vec<u8> {
    let mut bytes = 2_u16.to_ne_bytes().to_vec();
    bytes.extend(port.to_be_bytes());
    bytes.extend([127, 0, 0, last]);
    bytes
}

fn socket(pid: u32, fd: i64, kind: i64) -> Ev {
    Ev::call(pid, "socket", &[2, kind, 0], fd)
}

fn connect(pid: u32, fd: i64, to: &[u8]) -> Ev {
    Ev::call(pid, "connect", &[fd, 1, 16], 0).said(1, to)
}

fn bind(fd: i64, to: &[u8]) -> Ev {
    Ev::call(10, "bind", &[fd, 1, 16], 0).said(1, to)
}

fn send(fd: i64, to: Option<&[u8]>) -> Ev {
    let event = Ev::call(10, "sendto", &[fd, 1, 2, 0, 4, 16], 2);
    match to {
        Some(to) => event.said(4, to),
        None => event,
    }
}

fn receive(fd: i64, from: &[u8]) -> Ev {
    Ev::call(10, "recvfrom", &[fd, 1, 2, 0, 4, 5], 2).said(4, from)
}

fn write(pid: u32, fd: i64) -> Ev {
    Ev::call(pid, "write", &[fd, 1, 2], 2)
}

fn name(inspector: &Inspector, seen: &Seen) -> String {
    let descriptor = inspector.descriptor(seen).expect("a descriptor");
    String::from_utf8_lossy(&descriptor.name).into_owned()
}

/// The name of the descriptor at the last event.
fn last(inspector: &mut Inspector, events: &[Ev]) -> String {
    let seen = feed(inspector, events);
    name(inspector, &seen)
}

#[test]
fn a_connected_datagram_socket_can_send_elsewhere() {
    let mut inspector = isolated();
    let (one, two, three) = (inet(1, 7001), inet(2, 7002), inet(3, 7003));
    feed(&mut inspector, &[socket(10, 3, UDP), connect(10, 3, &one)]);
    assert_eq!(last(&mut inspector, &[send(3, None)]), "127.0.0.1:7001");
    let seen = feed(&mut inspector, &[send(3, Some(&two))]);
    assert_eq!(name(&inspector, &seen), "127.0.0.2:7002");
    assert!(seen.name_changed);
    let socket = inspector.descriptor(&seen).unwrap().socket.unwrap();
    assert_eq!(socket.connection, Connection::None);
    assert_eq!(socket.server(), Some("127.0.0.2:7002".parse().unwrap()));
    let message = Ev::call(10, "sendmsg", &[3, 1, 0], 2).part(1, 0, 1, &three);
    assert_eq!(last(&mut inspector, &[message]), "127.0.0.3:7003");
    // the socket is still connected to the first
    assert_eq!(
        last(&mut inspector, &[send(3, Some(&one))]),
        "127.0.0.1:7001"
    );
    assert_eq!(last(&mut inspector, &[write(10, 3)]), "127.0.0.1:7001");
    assert_eq!(
        last(&mut inspector, &[connect(10, 3, &two)]),
        "127.0.0.2:7002"
    );
}

#[test]
fn a_socket_bound_to_any_port_has_the_port_that_the_kernel_chose() {
    let mut inspector = isolated();
    let bound = bind(3, &inet(1, 0)).tuple(([127, 0, 0, 1], 43210), ([0; 4], 0));
    let seen = feed(&mut inspector, &[socket(10, 3, UDP), bound]);
    let socket = inspector.descriptor(&seen).unwrap().socket.unwrap();
    assert_eq!(socket.local, Some("127.0.0.1:43210".parse().unwrap()));
    assert!(socket.bound);
}

#[test]
fn a_socket_that_is_bound_to_a_port_serves_there_until_it_connects() {
    let mut inspector = isolated();
    let seen = feed(&mut inspector, &[socket(10, 3, TCP), bind(3, &inet(1, 80))]);
    let of = |inspector: &Inspector, seen: &Seen| {
        let socket = inspector.descriptor(seen).unwrap().socket.unwrap();
        (socket.client(), socket.server())
    };
    let bound = Some("127.0.0.1:80".parse().unwrap());
    assert_eq!(of(&inspector, &seen), (None, bound));
    let seen = feed(&mut inspector, &[connect(10, 3, &inet(2, 81))]);
    let to = Some("127.0.0.2:81".parse().unwrap());
    assert_eq!(of(&inspector, &seen), (bound, to));
    // of a port that the kernel has chosen, others learn only from the program
    let any = bind(4, &inet(1, 0)).tuple(([127, 0, 0, 1], 43210), ([0; 4], 0));
    let seen = feed(&mut inspector, &[socket(10, 4, UDP), any]);
    assert_eq!(of(&inspector, &seen), (None, None));
}

#[test]
fn a_socket_that_is_disconnected_has_no_other_end() {
    let mut inspector = isolated();
    let three = inet(3, 7003);
    let unspecified = [0; 16];
    let seen = feed(
        &mut inspector,
        &[
            socket(10, 3, UDP),
            connect(10, 3, &inet(1, 7001)),
            connect(10, 3, &unspecified),
        ],
    );
    let socket = inspector.descriptor(&seen).unwrap().socket.unwrap();
    assert_eq!((socket.remote, socket.connection), (None, Connection::None));
    assert_eq!(
        last(&mut inspector, &[send(3, Some(&three))]),
        "127.0.0.3:7003"
    );
}

#[test]
fn each_message_of_a_call_has_its_own_destination() {
    let mut inspector = isolated();
    let to = [inet(1, 7001), inet(2, 7002)];
    let mut event = Ev::call(10, "sendmmsg", &[3, 1, 2, 0], 2);
    for (index, to) in (0..).zip(&to) {
        event = event.part(1, index, 1, to).part(1, index, 2, b"data");
    }
    let mut names = Vec::new();
    feed(&mut inspector, &[socket(10, 3, UDP)]);
    super::testing::deliver(&[event], |event| {
        let mut seen = inspector.update(event);
        names.push(name(&inspector, &seen));
        while inspector.next_message(event, &mut seen) {
            names.push(name(&inspector, &seen));
        }
    });
    assert_eq!(names, ["127.0.0.1:7001", "127.0.0.2:7002"]);
    // one message was sent, the other was not
    let sent = Ev::call(10, "sendmmsg", &[3, 1, 2, 0], 1)
        .part(1, 0, 1, &to[0])
        .part(1, 1, 1, &to[1]);
    super::testing::deliver(&[sent], |event| {
        let mut seen = inspector.update(event);
        assert!(!inspector.next_message(event, &mut seen));
    });
}

#[test]
fn sending_can_make_the_connection() {
    for (ret, connection) in [(8, Connection::Made), (-115, Connection::Pending)] {
        let mut inspector = isolated();
        let first = Ev::call(10, "sendto", &[3, 1, 8, FASTOPEN, 4, 16], ret).said(4, &inet(1, 80));
        let seen = feed(&mut inspector, &[socket(10, 3, TCP), first, write(10, 3)]);
        assert_eq!(name(&inspector, &seen), "127.0.0.1:80");
        let socket = inspector.descriptor(&seen).unwrap().socket.unwrap();
        assert_eq!(socket.connection, connection);
    }
    // without the flag, the kernel ignores the address
    let mut inspector = isolated();
    let events = [
        socket(10, 3, TCP),
        connect(10, 3, &inet(1, 80)),
        send(3, Some(&inet(2, 81))),
    ];
    assert_eq!(last(&mut inspector, &events), "127.0.0.1:80");
}

#[test]
fn which_end_a_datagram_socket_is_does_not_depend_on_captured_messages() {
    let peers = [inet(5, 53), inet(5, 50_000), inet(5, 7105)];
    let bound: [Option<u16>; 4] = [None, Some(53), Some(7006), Some(50_001)];
    for port in bound {
        for peer in &peers {
            let start = || {
                let mut inspector = isolated();
                feed(&mut inspector, &[socket(10, 3, UDP)]);
                if let Some(port) = port {
                    feed(&mut inspector, &[bind(3, &inet(6, port))]);
                }
                inspector
            };
            let role = |inspector: &mut Inspector, events: &[Ev]| {
                let seen = feed(inspector, events);
                inspector.descriptor(&seen).unwrap().socket.unwrap().role
            };
            let alone = role(&mut start(), &[send(3, Some(peer))]);
            let after = role(&mut start(), &[receive(3, peer), send(3, Some(peer))]);
            assert_eq!(alone, after, "{port:?} {peer:?}");
            let alone = role(&mut start(), &[receive(3, peer)]);
            let after = role(&mut start(), &[send(3, Some(peer)), receive(3, peer)]);
            assert_eq!(alone, after, "{port:?} {peer:?}");
        }
    }
    // a resolver's answer comes from the server, and a server's answer goes to the client
    let mut client = isolated();
    let seen = feed(&mut client, &[socket(10, 3, UDP), receive(3, &inet(5, 53))]);
    let socket_of = |inspector: &Inspector, seen: &Seen| inspector.descriptor(seen).unwrap().socket;
    let server = socket_of(&client, &seen).unwrap().server();
    assert_eq!(server, Some("127.0.0.5:53".parse().unwrap()));
    let mut server = isolated();
    let events = [
        socket(10, 3, UDP),
        bind(3, &inet(6, 53)),
        send(3, Some(&inet(5, 50_000))),
    ];
    let seen = feed(&mut server, &events);
    let client = socket_of(&server, &seen).unwrap().client();
    assert_eq!(client, Some("127.0.0.5:50000".parse().unwrap()));
}

#[test]
fn duplicates_and_children_see_that_a_socket_is_connected() {
    let mut inspector = isolated();
    let one = inet(1, 80);
    let events = [
        socket(10, 3, TCP),
        Ev::call(10, "dup", &[3], 4),
        Ev::fork(10, 20, 20, 0),
        connect(10, 3, &one),
    ];
    feed(&mut inspector, &events);
    assert_eq!(last(&mut inspector, &[write(10, 4)]), "127.0.0.1:80");
    assert_eq!(last(&mut inspector, &[write(20, 3)]), "127.0.0.1:80");
    assert_eq!(last(&mut inspector, &[write(20, 4)]), "127.0.0.1:80");
    // the parent's reconnection by the child
    feed(&mut inspector, &[connect(20, 4, &inet(2, 80))]);
    assert_eq!(last(&mut inspector, &[write(10, 3)]), "127.0.0.2:80");
}

#[test]
fn a_unix_datagram_does_not_rename_the_socket() {
    let mut inspector = isolated();
    let path = |path: &[u8]| [&1_u16.to_ne_bytes()[..], path].concat();
    let events = [
        Ev::call(10, "socket", &[1, 2, 0], 3),
        connect(10, 3, &path(b"/run/one")),
        send(3, Some(&path(b"/dev/log"))),
    ];
    assert_eq!(last(&mut inspector, &events), "/dev/log");
    assert_eq!(last(&mut inspector, &[write(10, 3)]), "/run/one");
}

#[test]
fn the_upper_half_of_an_int_is_ignored() {
    let mut inspector = isolated();
    let dirty = |name, args: &[i64], ret| {
        let args: Vec<i64> = args.iter().map(|arg| arg | GARBAGE).collect();
        Ev::call(10, name, &args, ret)
    };
    feed(
        &mut inspector,
        &[
            dirty("socket", &[2, TCP | 0x8_0000, 0], 3),
            dirty("connect", &[3, 1, 16], 0).said(1, &inet(1, 80)),
            // F_DUPFD
            dirty("fcntl", &[3, 0, 10], 10),
            Ev::call(10, "dup2", &[10 | GARBAGE, 10], 10),
        ],
    );
    assert_eq!(last(&mut inspector, &[write(10, 10)]), "127.0.0.1:80");
    let socket = inspector.descriptors(inspector.processes.key(10).unwrap(), 10);
    assert!(
        socket
            .into_iter()
            .all(|(_, found)| found.socket.unwrap().protocol == 6)
    );
    feed(
        &mut inspector,
        &[dirty("prctl", &[15], 0).said(1, b"renamed")],
    );
    assert_eq!(&*inspector.process_by_pid(10).unwrap().name, b"renamed");
}

#[test]
fn a_refused_connection_keeps_the_address_that_was_asked_for() {
    let mut inspector = isolated();
    let refused = Ev::call(10, "connect", &[3, 1, 16], -115)
        .said(1, &inet(1, 9))
        .tuple(([127, 0, 0, 1], 60820), ([0, 0, 0, 0], 0));
    let name = last(&mut inspector, &[socket(10, 3, TCP), refused]);
    assert_eq!(name, "127.0.0.1:60820->127.0.0.1:9");
}

#[test]
fn a_message_without_name_and_data_does_not_hide_the_next_one() {
    let mut inspector = isolated();
    let (one, two) = (inet(1, 7001), inet(2, 7002));
    feed(&mut inspector, &[socket(10, 3, UDP), connect(10, 3, &one)]);
    let event = Ev::call(10, "sendmmsg", &[3, 1, 3, 0], 3).part(1, 1, 1, &two);
    let mut names = Vec::new();
    super::testing::deliver(&[event], |event| {
        let mut seen = inspector.update(event);
        names.push(name(&inspector, &seen));
        while inspector.next_message(event, &mut seen) {
            names.push(name(&inspector, &seen));
        }
    });
    assert_eq!(names, ["127.0.0.1:7001", "127.0.0.2:7002"]);
}

#[test]
fn a_call_that_is_entered_shows_whom_it_wants_to_reach() {
    let (one, two) = (inet(1, 7001), inet(2, 7002));
    let many = Ev::call(10, "sendmmsg", &[3, 1, 2, 0], 0)
        .part(1, 0, 1, &one)
        .part(1, 1, 1, &two);
    let message = Ev::call(10, "sendmsg", &[3, 1, 0], 0).part(1, 0, 1, &two);
    let open = Ev::call(10, "sendto", &[3, 1, 8, FASTOPEN, 4, 16], 0).said(4, &one);
    let unix = [&1_u16.to_ne_bytes()[..], b"/run/x"].concat();
    // IORING_OP_SEND
    let mut submitted = send(3, Some(&two));
    submitted.header.abi = Abi::IoUring as u8;
    submitted.header.nr = 26;
    for (kind, event, expected) in [
        (UDP, send(3, Some(&one)), &["127.0.0.1:7001"][..]),
        (UDP, message, &["127.0.0.2:7002"]),
        (UDP, submitted, &["127.0.0.2:7002"]),
        (UDP, many, &["127.0.0.1:7001", "127.0.0.2:7002"]),
        (TCP, connect(10, 3, &one), &["127.0.0.1:7001"]),
        (TCP, open, &["127.0.0.1:7001"]),
        (TCP, connect(10, 3, &unix), &["/run/x"]),
    ] {
        let mut inspector = isolated();
        feed(&mut inspector, &[socket(10, 3, kind)]);
        let mut names = Vec::new();
        super::testing::deliver(&[event.entered()], |event| {
            let mut seen = inspector.update(event);
            names.push(name(&inspector, &seen));
            while inspector.next_message(event, &mut seen) {
                names.push(name(&inspector, &seen));
            }
        });
        assert_eq!(names, expected);
        // how it ended is not known, so the descriptor is not either, or is as before
        let seen = feed(&mut inspector, &[write(10, 3)]);
        let after = inspector.descriptor(&seen);
        assert!(after.is_none_or(|after| after.name.is_empty()));
    }
}

#[test]
fn an_address_without_a_family_is_one_of_ipv4_to_all_but_connect() {
    let unspecified = |mut address: Vec<u8>| {
        address[..2].fill(0);
        address
    };
    let (one, two) = (inet(1, 7001), inet(2, 7002));
    let hidden = unspecified(two.clone());
    let message = || Ev::call(10, "sendmsg", &[3, 1, 0], 2).part(1, 0, 1, &hidden);
    for send in [send(3, Some(&hidden)), message()] {
        let mut inspector = isolated();
        feed(&mut inspector, &[socket(10, 3, UDP), connect(10, 3, &one)]);
        assert_eq!(last(&mut inspector, &[send]), "127.0.0.2:7002");
    }
    // a socket for IPv6 sends to its connected end
    let mut inspector = isolated();
    let wide = Ev::call(10, "socket", &[10, 2, 0], 3);
    feed(&mut inspector, &[wide, connect(10, 3, &one)]);
    assert_eq!(last(&mut inspector, &[message()]), "127.0.0.1:7001");
    let mut inspector = isolated();
    let bound = bind(3, &unspecified(inet(0, 80)));
    let seen = feed(&mut inspector, &[socket(10, 3, TCP), bound]);
    let socket = inspector.descriptor(&seen).unwrap().socket.unwrap();
    assert_eq!(socket.local.unwrap().port(), 80);
}
