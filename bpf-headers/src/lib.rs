//! Makes the C headers of the BPF programs from the Rust source files that describe the same memory, with cbindgen.
//!
//! The headers are committed. The test `headers` names them all, and compares each with what its Rust source says; with
//! `LANNER_WRITE_HEADER` it writes them instead (`make header`). It depends on none of the crates that it makes headers
//! for, because they cannot be built while a header is not current.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// One header and its source. Paths begin in the workspace's folder.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// The Rust source file.
    pub source: &'a str,
    /// The header.
    pub header: &'a str,
    /// What the header is for: its first comment.
    pub about: &'a str,
    /// The structs and enums of the header.
    pub types: &'a [Type<'a>],
    /// The constants of the header. Associated constants belong to their type.
    pub constants: Constants<'a>,
}

/// How C names a type.
#[derive(Debug, Clone, Copy)]
pub struct Type<'a> {
    /// Its name in Rust.
    pub rust: &'a str,
    /// Its tag in C.
    pub c: &'a str,
    /// What comes before the names of its variants and associated constants, which C has in upper case.
    pub prefix: &'a str,
}

/// How C names the constants of a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Constants<'a> {
    /// The prefixes of constants, by the inline module that they are in; "" is the file itself. Constants of other
    /// modules keep their names.
    pub prefixes: &'a [(&'a str, &'a str)],
    /// Constants of the file itself that have a name of their own in C.
    pub names: &'a [(&'a str, &'a str)],
}

/// Why a header cannot be made or is not current.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// cbindgen does not understand the source.
    #[error("cannot make a C header from {}", path.display())]
    Cbindgen {
        /// The Rust source file.
        path: PathBuf,
        /// What cbindgen said.
        source: Box<cbindgen::Error>,
    },
    /// The committed header is not what the source says.
    #[error("{} is not current: run `make header` and commit the result", path.display())]
    Stale {
        /// The header.
        path: PathBuf,
    },
}

/// Words of cbindgen's C, and what the kernel's headers and a compiler without `stdint.h` have instead.
const WORDS: [(&str, &str); 12] = [
    ("uint8_t", "__u8"),
    ("uint16_t", "__u16"),
    ("uint32_t", "__u32"),
    ("uint64_t", "__u64"),
    ("int8_t", "__s8"),
    ("int16_t", "__s16"),
    ("int32_t", "__s32"),
    ("int64_t", "__s64"),
    ("AtomicU64", "__u64"),
    ("UINT16_MAX", "0xffff"),
    ("UINT32_MAX", "0xffffffffu"),
    ("UINT64_MAX", "0xffffffffffffffffull"),
];

impl Header<'_> {
    /// Compares the committed header with the source, or writes it when `LANNER_WRITE_HEADER` is set. `folder` is the
    /// workspace's.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or written, a source that cbindgen does not understand, or [`Error::Stale`].
    pub fn check(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(self.header);
        let wanted = self.generate(folder)?;
        if env::var_os("LANNER_WRITE_HEADER").is_some() {
            return fs::write(&path, wanted).map_err(|source| Error::File {
                what: "write",
                path,
                source,
            });
        }
        if read(&path)? == wanted {
            Ok(())
        } else {
            Err(Error::Stale { path })
        }
    }

    /// The header that the source describes.
    ///
    /// # Errors
    ///
    /// A source that cannot be read, or that cbindgen does not understand.
    pub fn generate(&self, folder: &Path) -> Result<String, Error> {
        let path = folder.join(self.source);
        let constants = self.constant_names(&read(&path)?);
        let config = self.config(&constants);
        let mut header = Vec::new();
        cbindgen::Builder::new()
            .with_src(&path)
            .with_config(config)
            .generate()
            .map_err(|error| Error::Cbindgen {
                path,
                source: Box::new(error),
            })?
            .write(&mut header);
        Ok(self.plain(&String::from_utf8_lossy(&header), &constants))
    }

    fn config(&self, constants: &[(String, String)]) -> cbindgen::Config {
        let mut config = cbindgen::Config {
            language: cbindgen::Language::C,
            no_includes: true,
            style: cbindgen::Style::Tag,
            documentation_style: cbindgen::DocumentationStyle::C,
            ..cbindgen::Config::default()
        };
        config.enumeration.rename_variants = cbindgen::RenameRule::ScreamingSnakeCase;
        config.enumeration.prefix_with_name = true;
        for of in self.types {
            config.export.include.push(of.rust.to_owned());
            config
                .export
                .rename
                .insert(of.rust.to_owned(), of.c.to_owned());
        }
        config.export.rename.extend(constants.iter().cloned());
        config
    }

    /// The constants of the source with their names in C.
    fn constant_names(&self, source: &str) -> Vec<(String, String)> {
        let mut module = "";
        let mut names = Vec::new();
        for line in source.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (line.starts_with(' '), &words[..]) {
                (false, ["pub", "mod", name, "{"]) => module = name,
                (false, ["}"]) => module = "",
                (_, ["pub", "const", name, ..]) if line.starts_with(' ') != module.is_empty() => {
                    let name = name.trim_end_matches(':');
                    let own = self.constants.names.iter().find(|(rust, _)| *rust == name);
                    let prefix = self.constants.prefixes.iter().find(|(of, _)| *of == module);
                    let c = match (own.filter(|_| module.is_empty()), prefix) {
                        (Some((_, c)), _) => (*c).to_owned(),
                        (None, Some((_, prefix))) => format!("{prefix}{name}"),
                        (None, None) => continue,
                    };
                    names.push((name.to_owned(), c));
                }
                _ => {}
            }
        }
        names
    }

    /// cbindgen's C in the form of our headers: C11 without typedefs, the kernel's names of integers, comments of one
    /// line where they fit.
    fn plain(&self, header: &str, constants: &[(String, String)]) -> String {
        let name = Path::new(self.header).file_name().unwrap_or_default();
        let guard = format!("LANNER_{}", name.to_string_lossy())
            .replace('.', "_")
            .to_uppercase();
        let mut out = format!(
            "/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */\n/*\n * {}\n *\n * Made from {} by `make header`.\n */\n\
             #ifndef {guard}\n#define {guard}\n\n/* clang-format off */\n\n",
            self.about.trim().replace('\n', "\n * "),
            self.source
        );
        let mut lines = header.lines().peekable();
        let mut comment = String::new();
        while let Some(line) = lines.next() {
            let (indent, text) = line.split_at(line.len() - line.trim_start().len());
            match text {
                "/*" => {
                    let parts: Vec<&str> = lines
                        .by_ref()
                        .map(str::trim)
                        .take_while(|line| *line != "*/")
                        .collect();
                    comment = self.comment(&parts, &indent.replace("  ", "\t"), constants);
                }
                // the type of an enum's variants, which is the variants' own since C23 alone
                _ if text.starts_with("#if __STDC_VERSION__") => {
                    lines.by_ref().find(|line| line.starts_with("#endif"));
                    if lines.peek() == Some(&" {") {
                        lines.next();
                        out.truncate(out.trim_end().len());
                        out.push_str(" {\n");
                    }
                }
                // a list has no meaning in C, nor has a struct that only carries constants
                _ if text.starts_with("#define") && text.ends_with('}') => comment.clear(),
                _ if text.starts_with("struct") && lines.peek() == Some(&"") => {
                    lines.by_ref().find(|line| *line == "};");
                    out.push_str(&std::mem::take(&mut comment));
                    out.push('\n');
                }
                _ => {
                    out.push_str(&std::mem::take(&mut comment));
                    out.push_str(&self.in_c(&line.replace("  ", "\t")));
                    out.push('\n');
                }
            }
        }
        let mut out = out.trim_end().to_owned();
        while let Some(at) = out.find("\n\n\n") {
            out.remove(at);
        }
        out + "\n\n#endif\n"
    }

    /// A comment in C, without the marks of rustdoc.
    fn comment(&self, lines: &[&str], indent: &str, constants: &[(String, String)]) -> String {
        let text = lines.join(&format!("\n{indent} * "));
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some((before, link)) = rest.split_once("[`") {
            plain.push_str(before);
            let Some((name, after)) = link.split_once("`]") else {
                rest = link;
                continue;
            };
            plain.push_str(&self.link(name, constants));
            // where the link leads, if it says so
            rest = match after.strip_prefix('(') {
                Some(target) => target.split_once(')').map_or(after, |(_, after)| after),
                None => after,
            };
        }
        plain.push_str(rest);
        let plain = plain.replace('`', "").replace(" * \n", " *\n");
        format!("{indent}/* {plain} */\n")
    }

    /// What C calls the item that a link in a comment names.
    fn link(&self, name: &str, constants: &[(String, String)]) -> String {
        let (of, item) = name.rsplit_once("::").unwrap_or(("", name));
        let of = of.rsplit("::").next().unwrap_or_default();
        let named = |name: &str| self.types.iter().find(|one| one.rust == name);
        let is_constant = item == item.to_uppercase();
        if let Some(of) = named(of) {
            return match is_constant {
                true => format!("{}{item}", of.prefix),
                false => format!("{}.{item}", of.c),
            };
        }
        if let Some((_, prefix)) = self
            .constants
            .prefixes
            .iter()
            .find(|(module, _)| *module == item)
        {
            return format!("{prefix}*");
        }
        match (named(item), constants.iter().find(|(rust, _)| rust == item)) {
            (Some(item), _) if item.prefix.is_empty() => format!("struct {}", item.c),
            (Some(item), _) => format!("{}*", item.prefix),
            (None, Some((_, c))) => c.clone(),
            (None, None) => name.to_owned(),
        }
    }

    /// A line with our names.
    fn in_c(&self, line: &str) -> String {
        let mut out = String::new();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut rest = line;
        while !rest.is_empty() {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            out.push_str(&self.word_in_c(word));
            let next = after.find(is_word).unwrap_or(after.len());
            out.push_str(&after[..next]);
            rest = &after[next..];
        }
        out
    }

    fn word_in_c(&self, word: &str) -> String {
        if let Some((_, ours)) = WORDS.iter().find(|(theirs, _)| *theirs == word) {
            return (*ours).to_owned();
        }
        for of in self.types.iter().filter(|of| !of.prefix.is_empty()) {
            for theirs in [of.c.to_owned(), of.c.to_uppercase()] {
                let rest = word
                    .strip_prefix(&theirs)
                    .and_then(|rest| rest.strip_prefix('_'));
                // a variant or a constant, not a field or another type that begins alike
                if let Some(rest) = rest.filter(|rest| *rest == rest.to_uppercase()) {
                    return format!("{}{rest}", of.prefix);
                }
            }
        }
        word.to_owned()
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File {
        what: "read",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
        //! A source.
/// Bytes.
pub const MAX: usize = 8;
/// Codes of [`Thing::code`].
pub mod code {
    /// Nothing.
    pub const NONE: u8 = 0;
}
/// A [`code`](self::code) and a `word`.
#[repr(C)]
pub struct Thing {
    /// One of [`code`].
    pub code: u8,
    /// Words: [`MAX`] of them, each a [`Kind`] or [`Kind::UNKNOWN`].
    pub words: [u64; MAX],
}
/// An enum.
#[repr(u8)]
pub enum Kind {
    /// The first.
    FirstOne = 1,
}
/// Bits.
#[repr(C)]
pub struct Flags;
impl Flags {
    /// On.
    pub const ON: u8 = 1;
}
impl Kind {
    /// None of them.
    pub const UNKNOWN: u8 = 9;
    /// All.
    pub const ALL: [Self; 1] = [Self::FirstOne];
}
"#;

    const HEADER: &str = "/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * About it.
 *
 * Made from thing.rs by `make header`.
 */
#ifndef LANNER_THING_H
#define LANNER_THING_H

/* clang-format off */

/* Bytes. */
#define LANNER_MAX 8

/* None of them. */
#define KIND_UNKNOWN 9

/* Nothing. */
#define CODE_NONE 0

/* An enum. */
enum lanner_kind {
\t/* The first. */
\tKIND_FIRST_ONE = 1,
};

/* A CODE_* and a word. */
struct lanner_thing {
\t/* One of CODE_*. */
\t__u8 code;
\t/* Words: LANNER_MAX of them, each a KIND_* or KIND_UNKNOWN. */
\t__u64 words[LANNER_MAX];
};

/* Bits. */

/* On. */
#define FLAG_ON 1

#endif
";

    const THING: Header<'_> = Header {
        source: "thing.rs",
        header: "thing.h",
        about: "About it.",
        types: &[
            Type {
                rust: "Thing",
                c: "lanner_thing",
                prefix: "",
            },
            Type {
                rust: "Flags",
                c: "lanner_flag",
                prefix: "FLAG_",
            },
            Type {
                rust: "Kind",
                c: "lanner_kind",
                prefix: "KIND_",
            },
        ],
        constants: Constants {
            prefixes: &[("code", "CODE_")],
            names: &[("MAX", "LANNER_MAX")],
        },
    };

    #[test]
    fn structs_enums_and_constants_have_their_names_in_c_and_a_stale_header_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(THING.source), SOURCE).expect("a source");
        let made = THING.generate(folder.path()).expect("a header");
        assert_eq!(made, HEADER);
        fs::write(folder.path().join(THING.header), &made).expect("a header");
        THING.check(folder.path()).expect("it is current");
        fs::write(folder.path().join(THING.header), "").expect("a header");
        if env::var_os("LANNER_WRITE_HEADER").is_none() {
            let error = THING.check(folder.path()).expect_err("it is stale");
            assert!(matches!(error, Error::Stale { .. }), "{error}");
        }
    }
}
