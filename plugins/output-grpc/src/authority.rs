//! Makes requests of current gRPC clients acceptable to h2, the HTTP/2 library below tonic.
//!
//! At a Unix socket, clients that are built on gRPC's C core (grpcio since 1.60 and so Falco's Python client, for
//! example) name the socket's path as the request's `:authority`, percent-encoded: `%2Frun%2Ffalco%2Ffalco.sock`.
//! RFC 3986 allows that. h2 refuses it and closes the stream. So `connection` gives [`Frames`] what it received
//! before h2 sees it, and [`Frames`] replaces each `%` in the value of `:authority` by `.`. Nothing reads that value.
//!
//! Both characters have six bits in HPACK's Huffman code and differ only in the fifth. So no length changes, neither of
//! the compressed header nor of its entry in the dynamic table, and the bytes can be changed in place.

/// What a client sends first (RFC 9113, section 3.4).
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
/// Types of frames that have a part of a header block (section 6).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
/// Flags of `HEADERS`.
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The name that is looked for, plain and in Huffman code.
const NAME: [&[u8]; 2] = [b":authority", b"\xb8\x3b\x53\x39\xec\x32\x7d\x7f"];
/// How many symbols of HPACK's Huffman code have 0, 1, 2 ... bits (RFC 7541, appendix B). The code is canonical, so
/// these numbers say where each symbol ends.
const SYMBOLS: [u32; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 4,
];
/// The first five of the six bits of `%` (010101). With the last of these set, they begin `.` (010111). Only the space
/// begins like `%` (010100). No authority has a space; it would become `-` (010110).
const PERCENT: u32 = 0b0_1010;

/// A place in a stream of frames. Bytes come in pieces of any size.
#[derive(Debug)]
pub(crate) struct Frames {
    at: Position,
    block: Block,
}

#[derive(Debug)]
enum Position {
    /// This number of bytes is skipped: the preface, or a frame without a header block.
    Skip(usize),
    /// In the nine bytes before a frame; `known` of them have come.
    Head { known: usize, bytes: [u8; 9] },
    /// At the length of the padding, before `left` further bytes of the frame; the first `skip` of them are no
    /// header block.
    Padding { left: usize, skip: usize },
    /// In a frame: `skip` bytes, then `block` bytes of a header block, then `rest` bytes.
    Fragment {
        skip: usize,
        block: usize,
        rest: usize,
    },
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            at: Position::Skip(PREFACE),
            block: Block::default(),
        }
    }
}

impl Position {
    const HEAD: Self = Self::Head {
        known: 0,
        bytes: [0; 9],
    };

    /// The place after the head of a frame.
    fn after(head: [u8; 9], block: &mut Block) -> Self {
        let [a, b, c, kind, flags, ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let skip = match kind {
            HEADERS => {
                block.want = Want::Entry;
                if flags & PRIORITY == 0 { 0 } else { 5 }
            }
            CONTINUATION => 0,
            _ => return Self::Skip(length),
        };
        match length.checked_sub(1) {
            Some(left) if kind == HEADERS && flags & PADDED != 0 => Self::Padding { left, skip },
            _ => Self::fragment(length, skip, 0),
        }
    }

    fn fragment(length: usize, skip: usize, rest: usize) -> Self {
        let skip = skip.min(length);
        let rest = rest.min(length - skip);
        Self::Fragment {
            skip,
            block: length - skip - rest,
            rest,
        }
    }
}

impl Frames {
    /// Changes the bytes that came.
    pub(crate) fn rewrite(&mut self, mut bytes: &mut [u8]) {
        while let Some(first) = bytes.first().copied() {
            let mut used = 1;
            self.at = match self.at {
                Position::Skip(left) => {
                    used = left.min(bytes.len());
                    match left - used {
                        0 => Position::HEAD,
                        left => Position::Skip(left),
                    }
                }
                Position::Head {
                    known,
                    bytes: mut head,
                } => {
                    head[known] = first;
                    match known + 1 {
                        9 => Position::after(head, &mut self.block),
                        known => Position::Head { known, bytes: head },
                    }
                }
                Position::Padding { left, skip } => Position::fragment(left, skip, first.into()),
                Position::Fragment {
                    skip: 0,
                    block: 0,
                    rest,
                } => {
                    used = 0;
                    Position::Skip(rest)
                }
                Position::Fragment {
                    skip: 0,
                    block,
                    rest,
                } => {
                    used = block.min(bytes.len());
                    for byte in &mut bytes[..used] {
                        self.block.rewrite(byte);
                    }
                    Position::Fragment {
                        skip: 0,
                        block: block - used,
                        rest,
                    }
                }
                Position::Fragment { skip, block, rest } => Position::Fragment {
                    skip: skip - 1,
                    block,
                    rest,
                },
            };
            bytes = &mut bytes[used..];
        }
    }
}

/// A place in a header block (RFC 7541, section 6).
#[derive(Debug, Default)]
struct Block {
    want: Want,
}

#[derive(Debug, Clone, Copy, Default)]
enum Want {
    /// The first byte of an entry.
    #[default]
    Entry,
    /// The next byte of a number (section 5.1).
    Number { value: usize, shift: u32, of: Of },
    /// The first byte of a text's length.
    Length(Text),
    /// A byte of a text. `left` more bytes come.
    Text {
        left: usize,
        huffman: bool,
        text: Text,
    },
}

/// What a number is.
#[derive(Debug, Clone, Copy)]
enum Of {
    /// An index, or the size of the dynamic table. Nothing follows.
    Nothing,
    /// The index of a name. 0: the name follows. Then the value follows.
    Name,
    Length {
        huffman: bool,
        text: Text,
    },
}

#[derive(Debug, Clone, Copy)]
enum Text {
    /// A name; `known` bytes of it have come. They are those of `:authority`, as long as `same` holds.
    Name { known: usize, same: bool },
    /// Another header's value.
    Value,
    /// The value of `:authority`, and the bits of the current symbol if it is in Huffman code.
    Authority(Symbol),
}

/// A symbol of a Huffman code; `length` bits of it have come.
#[derive(Debug, Clone, Copy, Default)]
struct Symbol {
    bits: u32,
    length: usize,
    /// The first of the canonical codes with this length.
    first: u32,
}

impl Block {
    fn rewrite(&mut self, byte: &mut u8) {
        self.want = match self.want {
            Want::Entry => match byte.leading_zeros() {
                0 => number(*byte, 7, Of::Nothing),
                1 => number(*byte, 6, Of::Name),
                2 => number(*byte, 5, Of::Nothing),
                _ => number(*byte, 4, Of::Name),
            },
            Want::Number { value, shift, of } => {
                let more = usize::from(*byte & 0x7f);
                // A number that is too large is an error of the client, which h2 reports.
                let value = value.saturating_add(more.checked_shl(shift).unwrap_or(usize::MAX));
                if *byte & 0x80 == 0 {
                    of.after(value)
                } else {
                    let shift = shift.saturating_add(7);
                    Want::Number { value, shift, of }
                }
            }
            Want::Length(text) => {
                let huffman = *byte & 0x80 != 0;
                number(*byte, 7, Of::Length { huffman, text })
            }
            Want::Text {
                left,
                huffman,
                mut text,
            } => {
                text.rewrite(byte, huffman);
                match left - 1 {
                    0 => text.after(huffman),
                    left => Want::Text {
                        left,
                        huffman,
                        text,
                    },
                }
            }
        };
    }
}

/// What follows after the first byte of a number, which has its value in the last `bits` bits.
fn number(byte: u8, bits: u32, of: Of) -> Want {
    let most = (1 << bits) - 1;
    let value = usize::from(byte) & most;
    if value < most {
        of.after(value)
    } else {
        Want::Number {
            value,
            shift: 0,
            of,
        }
    }
}

impl Of {
    fn after(self, value: usize) -> Want {
        match self {
            Self::Nothing => Want::Entry,
            Self::Name => Want::Length(match value {
                0 => Text::Name {
                    known: 0,
                    same: true,
                },
                // The first name of the static table. Clients use the lowest index that a name has.
                1 => Text::Authority(Symbol::default()),
                _ => Text::Value,
            }),
            Self::Length { huffman, text } => match value {
                0 => text.after(huffman),
                left => Want::Text {
                    left,
                    huffman,
                    text,
                },
            },
        }
    }
}

impl Text {
    /// What follows after the whole text.
    fn after(self, huffman: bool) -> Want {
        match self {
            Self::Name { known, same } if same && known == NAME[usize::from(huffman)].len() => {
                Want::Length(Self::Authority(Symbol::default()))
            }
            Self::Name { .. } => Want::Length(Self::Value),
            Self::Value | Self::Authority(_) => Want::Entry,
        }
    }

    fn rewrite(&mut self, byte: &mut u8, huffman: bool) {
        match self {
            Self::Name { known, same } => {
                *same &= NAME[usize::from(huffman)].get(*known) == Some(byte);
                *known += 1;
            }
            Self::Value => {}
            Self::Authority(symbol) if huffman => {
                for bit in (0..8).rev() {
                    if symbol.take(*byte >> bit & 1) {
                        *byte |= 1 << bit;
                    }
                }
            }
            Self::Authority(_) => {
                if *byte == b'%' {
                    *byte = b'.';
                }
            }
        }
    }
}

impl Symbol {
    /// Takes the next bit, and says whether it must be set, because the symbol begins like `%`.
    fn take(&mut self, bit: u8) -> bool {
        self.bits = self.bits << 1 | u32::from(bit);
        self.length += 1;
        self.first <<= 1;
        let Some(symbols) = SYMBOLS.get(self.length) else {
            // It is no symbol. h2 reports that.
            *self = Self::default();
            return false;
        };
        let percent = self.length == 5 && self.bits == PERCENT;
        self.bits |= u32::from(percent);
        if self.bits < self.first + symbols {
            *self = Self::default();
        } else {
            self.first += symbols;
        }
        percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        [&head, payload].concat()
    }

    /// A connection's first bytes with these frames, rewritten in pieces of a size.
    fn rewritten(frames: &[u8], piece: usize) -> Vec<u8> {
        let mut bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frames].concat();
        let mut state = Frames::default();
        for part in bytes.chunks_mut(piece) {
            state.rewrite(part);
        }
        bytes.split_off(PREFACE)
    }

    /// `a%2Fb` in Huffman code: a 00011, % 010101, 2 00010, F 1100001, b 100011, and ones to the end.
    const ENCODED: [u8; 4] = [0b0001_1010, 0b1010_0010, 0b1100_0011, 0b0001_1111];
    /// `a.2Fb`
    const CHANGED: [u8; 4] = [0b0001_1010, 0b1110_0010, 0b1100_0011, 0b0001_1111];

    #[test]
    fn the_authoritys_percents_become_dots_however_they_are_sent() {
        let other = [0x40, 1, b'x', 5, b'a', b'%', b'2', b'F', b'b'];
        let plain = |name: &[u8], value: &[u8]| [&other, name, &[5], value, &other].concat();
        let huffman = |name: &[u8], value: &[u8]| [&other, name, &[0x84], value, &other].concat();
        let literal = [&[0x40, 10], NAME[0]].concat();
        let encoded = [&[0x00, 0x88], NAME[1]].concat();
        for name in [&[0x41][..], &[0x01], &[0x11], &literal, &encoded] {
            for (block, expected) in [
                (plain(name, b"a%2Fb"), plain(name, b"a.2Fb")),
                (huffman(name, &ENCODED), huffman(name, &CHANGED)),
            ] {
                let data = frame(0, 0, &block);
                let padded = |block: &[u8]| [&[3, 0, 0, 0, 1, 9], block, &[1, 2, 3]].concat();
                let sent = |block: &[u8]| {
                    let (begin, end) = block.split_at(block.len() / 2);
                    [
                        data.clone(),
                        frame(HEADERS, 0x4, block),
                        frame(HEADERS, PADDED | PRIORITY, &padded(block)),
                        frame(HEADERS, 0, begin),
                        frame(CONTINUATION, 0x4, end),
                        data.clone(),
                    ]
                    .concat()
                };
                for piece in [1, 2, 3, 7, 1000] {
                    assert_eq!(rewritten(&sent(&block), piece), sent(&expected));
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_no_http_do_not_disturb_it() {
        let mut state = 1_u64;
        for round in 0..20_000 {
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .take(64)
            .collect();
            let payload = if round % 2 == 0 {
                &bytes[..]
            } else {
                &[0xff; 64]
            };
            let sent = frame(HEADERS, bytes[0], payload);
            assert_eq!(rewritten(&sent, 5).len(), sent.len());
        }
    }
}
