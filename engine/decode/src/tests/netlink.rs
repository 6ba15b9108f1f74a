//! Netlink messages: what is right, and what lies.

use driver_api::event::Status;

use super::Arg::{M, N};
use super::{event, neg};
use crate::text::{Around, line_with};

const ROUTE: u16 = 0;
const SOCK_DIAG: u16 = 4;
const NETFILTER: u16 = 12;
const UEVENT: u16 = 15;
const GENERIC: u16 = 16;

/// A message with its header. `more`: what the header's length says beyond what is there.
fn message(kind: u16, flags: u16, payload: &[u8], more: i64) -> Vec<u8> {
    let len = u32::try_from(16 + payload.len() as i64 + more).unwrap();
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(7_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What is shown of data that a program sends through a socket of this protocol.
fn sent(protocol: u16, bytes: &[u8]) -> String {
    let args = [neg(-1), M(bytes.to_vec()), N(bytes.len() as u64), N(0)];
    let (mut builder, _) = event("sendto", &args, bytes.len() as i64);
    let mut out = String::new();
    let behind = &mut |_: &mut String, _| {};
    let netlink = Some(protocol);
    let event = builder.finish().unwrap();
    line_with(&mut out, &event, &mut Around { behind, netlink });
    let shown = out.strip_prefix("sendto(-1, ").unwrap();
    let end = shown.rfind(&format!(", {}, 0, NULL", bytes.len())).unwrap();
    shown[..end].to_owned()
}

const LINK: [u8; 16] = [0, 0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn a_question_about_a_link_has_its_names() {
    let name = attribute(3, b"eth0\0");
    let bytes = message(18, 0x301, &[&LINK[..], &name].concat(), -3);
    assert_eq!(
        sent(ROUTE, &bytes),
        "[{nlmsg_len=41, nlmsg_type=RTM_GETLINK, nlmsg_flags=NLM_F_REQUEST|NLM_F_DUMP, nlmsg_seq=7, nlmsg_pid=0}, \
         {ifi_family=AF_UNSPEC, ifi_type=ARPHRD_ETHER, ifi_index=2, ifi_flags=IFF_UP, ifi_change=0}, \
         [{nla_len=9, nla_type=IFLA_IFNAME}, \"eth0\"]]"
    );
}

#[test]
fn nested_attributes_follow_the_kind_before_them() {
    let bridge = attribute(5, &1_u32.to_ne_bytes());
    let info = [attribute(1, b"bridge\0"), attribute(0x8002, &bridge)].concat();
    let bytes = message(
        16,
        0x601,
        &[&LINK[..], &attribute(0x8012, &info)].concat(),
        0,
    );
    let shown = sent(ROUTE, &bytes);
    assert!(
        shown.ends_with(
            "[{nla_len=28, nla_type=NLA_F_NESTED|IFLA_LINKINFO}, [[{nla_len=11, nla_type=IFLA_INFO_KIND}, \"bridge\"], \
             [{nla_len=12, nla_type=NLA_F_NESTED|IFLA_INFO_DATA}, [{nla_len=8, nla_type=IFLA_BR_STP_STATE}, 1]]]]]"
        ),
        "{shown}"
    );
    assert!(
        shown.contains("NLM_F_REQUEST|NLM_F_EXCL|NLM_F_CREATE"),
        "{shown}"
    );
}

#[test]
fn several_messages_are_an_array_and_an_error_has_the_message_that_failed() {
    let failed = message(18, 1, &[], 0);
    let error = message(2, 0, &[&(-1_i32).to_ne_bytes()[..], &failed].concat(), 0);
    let done = message(3, 2, &0_i32.to_ne_bytes(), 0);
    assert_eq!(
        sent(ROUTE, &[error, done].concat()),
        "[[{nlmsg_len=36, nlmsg_type=NLMSG_ERROR, nlmsg_flags=0, nlmsg_seq=7, nlmsg_pid=0}, {error=-EPERM, \
         msg={nlmsg_len=16, nlmsg_type=RTM_GETLINK, nlmsg_flags=NLM_F_REQUEST, nlmsg_seq=7, nlmsg_pid=0}}], \
         [{nlmsg_len=20, nlmsg_type=NLMSG_DONE, nlmsg_flags=NLM_F_MULTI, nlmsg_seq=7, nlmsg_pid=0}, 0]]"
    );
}

#[test]
fn the_other_families_have_their_own_types() {
    let mut request = vec![1, 0, 0, 0];
    request.extend([2_u32, 3, 1, 4, 5].map(u32::to_ne_bytes).concat());
    assert_eq!(
        sent(SOCK_DIAG, &message(20, 0x301, &request, 0)),
        "[{nlmsg_len=40, nlmsg_type=SOCK_DIAG_BY_FAMILY, nlmsg_flags=NLM_F_REQUEST|NLM_F_DUMP, nlmsg_seq=7, nlmsg_pid=0}, \
         {sdiag_family=AF_UNIX, sdiag_protocol=0, udiag_states=1<<TCP_ESTABLISHED, udiag_ino=3, \
         udiag_show=UDIAG_SHOW_NAME, udiag_cookie=[4, 5]}]"
    );
    let name = attribute(2, b"nl80211\0");
    assert_eq!(
        sent(
            GENERIC,
            &message(16, 1, &[&[3, 1, 0, 0][..], &name].concat(), 0)
        ),
        "[{nlmsg_len=32, nlmsg_type=nlctrl, nlmsg_flags=NLM_F_REQUEST, nlmsg_seq=7, nlmsg_pid=0}, \
         {cmd=CTRL_CMD_GETFAMILY, version=1}, [{nla_len=12, nla_type=CTRL_ATTR_FAMILY_NAME}, \"nl80211\"]]"
    );
    let table = attribute(1, b"filter\0");
    assert_eq!(
        sent(
            NETFILTER,
            &message(0xa00, 0x401, &[&[2, 0, 0, 9][..], &table].concat(), 0)
        ),
        "[{nlmsg_len=32, nlmsg_type=NFNL_SUBSYS_NFTABLES<<8|NFT_MSG_NEWTABLE, nlmsg_flags=NLM_F_REQUEST|NLM_F_CREATE, \
         nlmsg_seq=7, nlmsg_pid=0}, {nfgen_family=AF_INET, version=NFNETLINK_V0, res_id=htons(9)}, \
         [{nla_len=11, nla_type=NFTA_TABLE_NAME}, \"filter\"]]"
    );
    assert_eq!(sent(UEVENT, b"add@/devices/x\0"), "\"add@/devices/x\\0\"");
}

#[test]
fn lengths_that_lie_show_what_is_there() {
    // more than there is
    let shown = sent(ROUTE, &message(18, 1, &LINK, 1000));
    assert!(shown.ends_with("ifi_change=0}]"), "{shown}");
    // not even the header: the last message
    let short = [7_u32.to_ne_bytes(), 0x12_u32.to_ne_bytes(), [0; 4], [0; 4]].concat();
    assert_eq!(
        sent(ROUTE, &[&short[..], &short].concat()),
        "{nlmsg_len=7, nlmsg_type=RTM_GETLINK, nlmsg_flags=0, nlmsg_seq=0, nlmsg_pid=0}"
    );
    assert_eq!(sent(ROUTE, b"short"), "\"short\"");
    assert_eq!(sent(ROUTE, &[]), "\"\"");
    // a length that cannot be rounded up
    let huge = [
        u32::MAX.to_ne_bytes(),
        0x12_u32.to_ne_bytes(),
        [0; 4],
        [0; 4],
    ]
    .concat();
    assert!(sent(ROUTE, &huge).starts_with("{nlmsg_len=4294967295"));
    // half a structure, half an attribute
    let shown = sent(ROUTE, &message(18, 1, &LINK[..6], 0));
    assert!(
        shown.ends_with("{ifi_family=AF_UNSPEC, ifi_type=ARPHRD_ETHER, ...}]"),
        "{shown}"
    );
    let shown = sent(ROUTE, &message(18, 1, &[&LINK[..], &[9, 0, 3]].concat(), 0));
    assert!(shown.ends_with(", \"\\t\\0\\3\"]"), "{shown}");
    // an attribute of length 0 would never end
    let zero = [0_u8; 64];
    let shown = sent(ROUTE, &message(18, 1, &[&LINK[..], &zero].concat(), 0));
    assert_eq!(shown.matches("nla_len=0").count(), 1, "{shown}");
    // a value that is too short for its type
    let shown = sent(
        ROUTE,
        &message(18, 1, &[&LINK[..], &attribute(4, b"ab")].concat(), 0),
    );
    assert!(shown.ends_with("nla_type=IFLA_MTU}, \"ab\"]]"), "{shown}");
}

#[test]
fn nesting_without_end_ends_and_stays_short() {
    // each attribute of a multipath route is in another one
    let mut value = vec![0; 4];
    for _ in 0..2000 {
        let len = u16::try_from(8 + value.len()).unwrap();
        let mut hop = len.to_ne_bytes().to_vec();
        hop.extend([0, 0, 1, 0, 0, 0]);
        hop.extend(&value);
        value = attribute(9, &hop);
    }
    let payload = [&[0_u8; 12][..], &value].concat();
    let bytes = message(24, 1, &payload, 0);
    let shown = sent(ROUTE, &bytes);
    assert!(
        shown.len() < 8 * bytes.len(),
        "{} of {}",
        shown.len(),
        bytes.len()
    );
    // errors in errors
    let mut error = message(2, 0, &[], 0);
    for _ in 0..1000 {
        error = message(2, 0, &[&[0; 4][..], &error].concat(), 0);
    }
    let shown = sent(ROUTE, &error);
    assert!(
        shown.len() < 8 * error.len(),
        "{} of {}",
        shown.len(),
        error.len()
    );
}

#[test]
fn data_that_were_cut_say_so() {
    let bytes = message(18, 1, &LINK, 0);
    let args = [neg(-1), N(1), N(400), N(0)];
    let (mut builder, _) = event("sendto", &args, 400);
    builder.attach(
        1,
        driver_api::event::Part::None,
        Status::Truncated,
        driver_api::event::Encoding::Raw,
        400,
        &bytes,
    );
    let mut out = String::new();
    let behind = &mut |_: &mut String, _| {};
    let netlink = Some(ROUTE);
    let event = builder.finish().unwrap();
    line_with(&mut out, &event, &mut Around { behind, netlink });
    assert!(out.contains("ifi_change=0}]..., 400"), "{out}");
}

#[test]
fn any_bytes_are_shown_whatever_the_protocol() {
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for protocol in 0..24_u16 {
        for kind in (0..96_u16).chain([0x100, 0x101, 0xa00, 0xa06, 0xa09, 0xa0c, 0xffff]) {
            for flags in [0, 1] {
                let payload: Vec<u8> = (0..120)
                    .map(|at| {
                        if at % 4 == 0 && at > 8 {
                            random() % 24
                        } else {
                            random() % 40
                        }
                    })
                    .collect();
                let bytes = message(kind, flags, &payload, 0);
                let shown = sent(protocol, &bytes);
                assert!(shown.len() < 60 * bytes.len(), "{shown}");
            }
        }
    }
}
