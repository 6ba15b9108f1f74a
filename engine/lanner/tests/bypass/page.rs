//! docs/bypass.md, which is made of the table and of what the drivers say about their gaps.

use std::fmt::Write;

use crate::table::{MODES, Row, Table, Verdict};

const HEAD: &str = "\
# Ways past a monitor

Made by `make bypass-page` from `engine/lanner/tests/bypass/ways.tbl`; do not edit.

Each row is a program that tries not to be seen, and a rule of a user's or of the default rules that must see it. `cargo test
-p lanner --test bypass` runs all of them below lanner, in each mode of capture, and compares what the rules say with this page.
The programs are in `engine/lanner/tests/bypass/actor`, the rules in `rules.yaml` beside it.

| in a column | means |
|---|---|
| seen | the rule fires, for which it needs the right value; or it does not fire where it must not |
| refused | the driver does not let it happen; the note says why |
| gap | the rule does not fire; `lanner drivers` names the gap of the note, with its reason and what helps |
| partly | the rule fires sometimes |

The column of Falco says what its source or documentation tells; a `?` where that is not known. The measurements are from one
Linux 6.18, on which functions and LSM hooks cannot be attached.
";

/// The page.
pub(crate) fn page(table: &Table) -> String {
    let gaps: Vec<&str> = table.gaps.keys().copied().collect();
    let notes: Vec<&str> = table.falco.keys().copied().collect();
    let mut page = HEAD.to_owned();
    let mut section = "";
    for row in &table.rows {
        if row.section != section {
            section = row.section;
            let _ = write!(
                page,
                "\n## {section}\n\n| what is done | rule | core | legacy | trace | notify | Falco |\n|---|---|---|---|---|---|---|\n"
            );
        }
        let verdicts = row.verdicts.map(|verdict| cell(verdict, &gaps));
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            row.what,
            rule(row),
            verdicts.join(" | "),
            falco(row, table, &notes)
        );
    }
    page.push_str(
        "\n## Against lanner itself\n\nTests of other suites have these.\n\n\
         | what is done | core | legacy | trace | notify | test |\n|---|---|---|---|---|---|\n",
    );
    for test in &table.elsewhere {
        let _ = writeln!(
            page,
            "| {} | `{}` in {} |",
            test.cells.join(" | "),
            test.function,
            test.file
        );
    }
    page.push_str("\n## Gaps\n\nAs `lanner drivers` names them, with the modes that have them in these tables.\n\n");
    for (at, label) in gaps.iter().enumerate() {
        let of: Vec<&str> = (0..MODES.len())
            .filter(|mode| {
                let named = |row: &Row| row.verdicts[*mode].gap() == Some(label);
                table.rows.iter().any(named)
            })
            .map(|mode| MODES[mode].name)
            .collect();
        let _ = writeln!(
            page,
            "- [{}] {} ({})",
            at + 1,
            table.gaps[label],
            of.join(", ")
        );
    }
    page.push_str("\n## Falco\n\n");
    for (at, label) in notes.iter().enumerate() {
        let _ = writeln!(page, "- [{}] {}", letter(at), table.falco[label].1);
    }
    page
}

fn rule(row: &Row) -> String {
    let names = row.rules.join(" or ");
    if row.must_not {
        format!("not {names}")
    } else {
        names
    }
}

fn cell(verdict: Verdict, gaps: &[&str]) -> String {
    let note = |label: &str| {
        gaps.iter()
            .position(|gap| *gap == label)
            .map_or(0, |at| at + 1)
    };
    match verdict {
        Verdict::Seen => "seen".to_owned(),
        Verdict::Refused(label) => format!("refused [{}]", note(label)),
        Verdict::Gap(label) => format!("gap [{}]", note(label)),
        Verdict::Sometimes(label) => format!("partly [{}]", note(label)),
    }
}

fn falco(row: &Row, table: &Table, notes: &[&str]) -> String {
    match table.falco.get(row.falco) {
        None => "?".to_owned(),
        Some((verdict, _)) => {
            let at = notes
                .iter()
                .position(|note| *note == row.falco)
                .unwrap_or(0);
            format!("{verdict} [{}]", letter(at))
        }
    }
}

/// The notes on Falco have letters, so that they are not taken for gaps.
fn letter(at: usize) -> char {
    u8::try_from(at).map_or('?', |at| char::from(b'a' + at))
}
