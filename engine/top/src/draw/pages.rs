//! Pages of text: help, the events of a process, alerts, gaps of the driver, and the command's output.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::table::window;
use super::{Palette, line, put};
use crate::alerts::RuleRow;
use crate::app::{App, Page, Scroll};
use crate::model::Model;

/// What `?` shows.
pub(crate) const HELP: &[&str] = &[
    "Panes",
    "  1 to 8, Tab, Shift-Tab    another pane",
    "  Up, Down, PageUp, PageDown, Home, End (also j, k, g, G)",
    "                            mark another row",
    "  Enter on a process        its events as they come, and those before",
    "  Enter on a rule           its latest alerts; Enter again: event and fields",
    "  Enter on anything else    a filter for it, to be changed or confirmed",
    "  Esc                       back",
    "",
    "Rows",
    "  s, S (also Right, Left)   sort by the next or the previous column",
    "  r                         turn the order around",
    "  t                         processes as a tree or as a list",
    "  e                         show or hide processes that have ended",
    "",
    "Events",
    "  / (also f)                filter: a condition of the rules language, such as",
    "                            proc.name = sshd and evt.failed = true",
    "                            Tab completes names of fields; an empty line removes",
    "                            the filter; counting begins anew",
    "  p, Space                  stop the picture; counting goes on",
    "  z                         count anew",
    "",
    "  Ctrl-L                    draw everything again",
    "  Ctrl-Z                    suspend; fg brings lanner back",
    "  q, Ctrl-C                 leave",
    "",
    "Marks",
    "  A * or ^ in a title       rows are sorted by this column; ^: reversed",
    "  A ! in a tab              there are alerts, losses or unread output",
    "  A -                       not known: the driver has no results, or no times",
];

/// Draws the uppermost page.
pub(super) fn page(
    buffer: &mut Buffer,
    area: Rect,
    app: &mut App,
    model: &Model,
    palette: Palette,
) {
    let Some(page) = app.pages.last_mut() else {
        return;
    };
    let mut rest = area;
    let head = line(&mut rest);
    match page {
        Page::Help(at) => {
            put(buffer, head, 0, "Help", palette.title());
            scrolled(
                buffer,
                rest,
                at,
                HELP.len(),
                &|line| HELP[line].into(),
                palette,
            );
        }
        Page::Events(key, at) => {
            let row = model.processes.get(*key);
            let title = row.map_or_else(
                || "Events of a process that is forgotten".to_owned(),
                |row| format!("Events of {} {}", row.pid, row.command),
            );
            put(buffer, head, 0, &title, palette.title());
            let followed = model.followed.as_ref();
            match followed.filter(|followed| followed.process == *key) {
                Some(followed) if !followed.lines.lines.is_empty() => {
                    let lines = &followed.lines.lines;
                    let text = |line: usize| lines[line].as_str().into();
                    scrolled(buffer, rest, at, lines.len(), &text, palette);
                }
                _ => put(buffer, rest, 0, "no events yet", palette.dim()),
            }
        }
        Page::Rule {
            rule,
            marked,
            offset,
        } => {
            let Some(rule) = model.alerts.rules.get(*rule) else {
                return;
            };
            let title = format!("Latest alerts: {}", rule.name);
            put(buffer, head, 0, &title, palette.title());
            latest(buffer, rest, rule, (marked, offset), palette);
        }
        Page::Alert(lines, at) => {
            put(buffer, head, 0, "Alert", palette.title());
            let wrapped = wrap(lines, usize::from(area.width));
            let text = |line: usize| wrapped[line].as_str().into();
            scrolled(buffer, rest, at, wrapped.len(), &text, palette);
        }
    }
}

/// Draws the latest alerts of a rule from a row on, and the mark on one of them.
fn latest(
    buffer: &mut Buffer,
    mut rest: Rect,
    rule: &RuleRow,
    (marked, offset): (&mut usize, &mut usize),
    palette: Palette,
) {
    let count = rule.latest.len();
    if count == 0 {
        put(buffer, rest, 0, "no alert is kept", palette.dim());
        return;
    }
    *marked = (*marked).min(count - 1);
    // the newest is the first, and the mark stays on its alert
    let place = count - 1 - *marked;
    *offset = window(*offset, place, usize::from(rest.height), count);
    let height = usize::from(rest.height);
    for (at, alert) in rule.latest.iter().enumerate().skip(*offset).take(height) {
        let style = if at == place {
            palette.selected()
        } else {
            palette.plain()
        };
        let area = line(&mut rest);
        buffer.set_style(area, style);
        put(buffer, area, 0, &alert.text, ratatui::style::Style::new());
    }
}

/// Draws what the command wrote.
pub(super) fn output(
    buffer: &mut Buffer,
    area: Rect,
    app: &mut App,
    model: &Model,
    palette: Palette,
) {
    let mut rest = area;
    let title = "What the command and lanner wrote to standard output and standard error";
    put(buffer, line(&mut rest), 0, title, palette.title());
    let Some(output) = &model.output else {
        return;
    };
    app.output_seen = output.gone + output.lines.len() as u64;
    if output.lines.is_empty() {
        put(buffer, rest, 0, "nothing yet", palette.dim());
        return;
    }
    let text = |line: usize| output.lines[line].as_str().into();
    let count = output.lines.len();
    scrolled(buffer, rest, &mut app.output, count, &text, palette);
}

/// Draws which driver captures, and which gaps its start found.
pub(super) fn gaps(buffer: &mut Buffer, area: Rect, model: &Model, palette: Palette) {
    let mut lines = vec![String::new(), model.facts.reason.clone(), String::new()];
    let stats = &model.facts.stats;
    if stats.capacity > 0 {
        let (pending, capacity) = (
            crate::text::bytes(stats.pending),
            crate::text::bytes(stats.capacity),
        );
        lines.push(format!(
            "{pending} of {capacity} of the buffers wait to be read"
        ));
        lines.push(String::new());
    }
    if model.facts.gaps.is_empty() {
        let no_more = "The start found no gaps besides those that `lanner drivers` lists.";
        lines.push(no_more.to_owned());
    } else {
        lines.push("Gaps that the start found (`lanner drivers` lists the others, and what would close them):".to_owned());
        lines.extend(model.facts.gaps.iter().map(|gap| format!("  {gap}")));
    }
    let lines = wrap(&lines, usize::from(area.width));
    for (at, text) in lines.iter().enumerate() {
        put(
            buffer,
            area,
            u16::try_from(at).unwrap_or(u16::MAX),
            text,
            palette.plain(),
        );
    }
}

/// Draws a part of a text.
fn scrolled<'a>(
    buffer: &mut Buffer,
    area: Rect,
    at: &mut Scroll,
    count: usize,
    text: &dyn Fn(usize) -> std::borrow::Cow<'a, str>,
    palette: Palette,
) {
    let height = usize::from(area.height);
    let last = count.saturating_sub(height);
    let mut top = at.top.unwrap_or(last).min(last);
    if at.moved != 0 {
        top = top.saturating_add_signed(at.moved).min(last);
        // at the end, the text follows what comes
        at.top = if top >= last && at.moved > 0 {
            None
        } else {
            Some(top)
        };
        at.moved = 0;
    }
    for place in 0..height.min(count - top.min(count)) {
        let full = text(top + place);
        let from = full
            .char_indices()
            .nth(at.left)
            .map_or(full.len(), |(at, _)| at);
        let line = u16::try_from(place).unwrap_or(u16::MAX);
        put(buffer, area, line, &full[from..], palette.plain());
    }
}

/// Lines that are at most this wide. Every character takes one cell.
pub(super) fn wrap(lines: &[String], width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut wrapped = Vec::new();
    for line in lines {
        let mut rest: Vec<char> = line.chars().collect();
        while rest.len() > width {
            let space = rest[..width].iter().rposition(|c| *c == ' ');
            let at = space
                .filter(|at| *at > width / 2)
                .map_or(width, |at| at + 1);
            let next = rest.split_off(at);
            wrapped.push(rest.into_iter().collect());
            rest = next;
        }
        wrapped.push(rest.into_iter().collect());
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_at_spaces_where_there_are_any() {
        let lines = |text: &str, width| wrap(&[text.to_owned()], width);
        assert_eq!(lines("one two three", 8), ["one two ", "three"]);
        assert_eq!(lines("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(lines("", 3), [""]);
        assert_eq!(lines("ab", 0), ["a", "b"]);
    }

    #[test]
    fn help_fits_80_columns() {
        for line in HELP {
            assert!(line.len() <= 80, "{line}");
        }
    }
}
