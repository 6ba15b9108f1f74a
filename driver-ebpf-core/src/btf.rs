//! Types in BTF, the format in which the kernel and the objects of programs describe them (Documentation/bpf/btf.rst).

/// Begins BTF.
const MAGIC: u32 = 0xeb9f;
/// The bytes that every type has. More follow for some kinds.
pub(crate) const HEAD: usize = 12;

/// What sort of type it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// A pointer.
    Pointer,
    /// Another name for a type.
    Name,
    /// A qualified type.
    Qualified,
    /// An array.
    Array,
    /// A struct or a union.
    Struct,
    /// An enumeration.
    Enum,
    /// Anything else.
    Rest,
}

/// The layout of a kind: how many bytes follow the first twelve, and how many each element has.
struct Layout {
    sort: Sort,
    fixed: usize,
    each: usize,
}

/// `None`: a kind that is not known.
fn layout(kind: u32) -> Option<Layout> {
    let (sort, fixed, each) = match kind {
        1 | 14 | 17 => (Sort::Rest, 4, 0), // int, variable, tag of a declaration
        2 => (Sort::Pointer, 0, 0),
        3 => (Sort::Array, 12, 0),
        4 | 5 => (Sort::Struct, 0, 12),
        6 => (Sort::Enum, 0, 8),
        19 => (Sort::Enum, 0, 12), // with 64 bits
        8 => (Sort::Name, 0, 0),
        9..=11 | 18 => (Sort::Qualified, 0, 0), // volatile, const, restrict, tag of a type
        7 | 12 | 16 => (Sort::Rest, 0, 0),      // forward declaration, function, float
        13 => (Sort::Rest, 0, 8),               // signature of a function
        15 => (Sort::Rest, 0, 12),              // section
        _ => return None,
    };
    Some(Layout { sort, fixed, each })
}

/// A number of four bytes.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

/// A place and a length, as the words of a header say them.
pub(crate) fn section(bytes: &[u8], header: usize, place: usize, len: usize) -> Option<&[u8]> {
    let start = header.checked_add(word(bytes, place)? as usize)?;
    bytes.get(start..start.checked_add(word(bytes, len)? as usize)?)
}

/// A type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Type<'a> {
    /// What sort it is.
    pub(crate) sort: Sort,
    /// The place of its name.
    pub(crate) name: u32,
    /// Its kind, and how many elements it has.
    pub(crate) info: u32,
    /// The type that it refers to, or its size.
    pub(crate) of: u32,
    /// What follows.
    pub(crate) rest: &'a [u8],
    /// The bytes of each element in what follows; 0: there are none.
    pub(crate) each: usize,
}

/// BTF in memory.
#[derive(Debug)]
pub(crate) struct Types<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins. Number 0 is void, which has no bytes.
    starts: Vec<u32>,
}

impl<'a> Types<'a> {
    /// `None`: these bytes are no whole BTF, or have a kind of type that is not known.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        if word(bytes, 0)? & 0xffff != MAGIC {
            return None;
        }
        let header = word(bytes, 4)? as usize;
        let (types, strings) = (
            section(bytes, header, 8, 12)?,
            section(bytes, header, 16, 20)?,
        );
        let mut starts = vec![0];
        let mut at = 0;
        while at < types.len() {
            starts.push(u32::try_from(at).ok()?);
            let info = word(types, at + 4)?;
            let Layout { fixed, each, .. } = layout(info >> 24 & 31)?;
            at += HEAD + fixed + each * (info & 0xffff) as usize;
        }
        (at == types.len()).then_some(Self {
            types,
            strings,
            starts,
        })
    }

    /// How many types there are, with void.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// A type other than void.
    pub(crate) fn get(&self, id: usize) -> Option<Type<'a>> {
        let start = match id {
            0 => return None,
            id => *self.starts.get(id)? as usize,
        };
        let end = self.starts.get(id + 1).map(|next| *next as usize);
        let bytes = self.types.get(start..end.unwrap_or(self.types.len()))?;
        let info = word(bytes, 4)?;
        let Layout { sort, each, .. } = layout(info >> 24 & 31)?;
        Some(Type {
            sort,
            name: word(bytes, 0)?,
            info,
            of: word(bytes, 8)?,
            rest: bytes.get(HEAD..)?,
            each,
        })
    }

    /// The string at a place.
    pub(crate) fn string(&self, at: u32) -> &'a [u8] {
        let rest = self.strings.get(at as usize..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0);
        &rest[..end.unwrap_or(rest.len())]
    }

    /// The name of a type, without what follows `___` in it, which tells variants of one type apart.
    pub(crate) fn name(&self, of: &Type<'_>) -> &'a [u8] {
        let name = self.string(of.name);
        let end = name.windows(3).position(|three| three == b"___");
        &name[..end.unwrap_or(name.len())]
    }
}
