//! The prompt with its messages, and the question before leaving.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::pages::wrap;
use super::{Palette, put};
use crate::prompt::Prompt;
use crate::text::safe_text;

const LABEL: &str = "filter: ";

/// Draws the prompt in the last line, and above it what is wrong or possible. Returns where the cursor is.
pub(super) fn prompt(
    buffer: &mut Buffer,
    above: Rect,
    area: Rect,
    prompt: &Prompt,
    palette: Palette,
) -> Position {
    let label = u16::try_from(LABEL.len()).unwrap_or(0);
    blank(buffer, area, palette);
    put(buffer, area, 0, LABEL, palette.title());
    let field = Rect {
        x: area.x + label.min(area.width),
        width: area.width.saturating_sub(label),
        ..area
    };
    let before = safe_text(&prompt.text.as_bytes()[..prompt.cursor]);
    let cursor = before.chars().count();
    let width = usize::from(field.width).max(1);
    // the text moves to the left where the cursor would leave the screen
    let left = (cursor + 1).saturating_sub(width);
    let text = before + &safe_text(&prompt.text.as_bytes()[prompt.cursor..]);
    let shown: String = text.chars().skip(left).collect();
    put(buffer, field, 0, &shown, palette.plain());

    let width = usize::from(above.width);
    let lines = match &prompt.error {
        Some(error) => {
            let lines: Vec<String> = error
                .lines()
                .map(|line| safe_text(line.as_bytes()))
                .collect();
            wrap(&lines, width)
        }
        None => wrap(&[prompt.choices.join("  ")], width),
    };
    let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    let most = usize::from(above.height).saturating_sub(2).min(10);
    let height = lines.len().min(most);
    let is_cut = lines.len() > height;
    let height = u16::try_from(height).unwrap_or(0);
    let popup = Rect {
        y: above.y + above.height - height,
        height,
        ..above
    };
    let style = if prompt.error.is_some() {
        palette.bad()
    } else {
        palette.key()
    };
    for (at, line) in lines.iter().take(usize::from(height)).enumerate() {
        let at = u16::try_from(at).unwrap_or(0);
        let area = Rect {
            y: popup.y + at,
            height: 1,
            ..popup
        };
        blank(buffer, area, palette);
        let is_last = is_cut && at + 1 == height;
        put(buffer, area, 0, if is_last { "..." } else { line }, style);
    }
    let x = u16::try_from(cursor - left).unwrap_or(0);
    Position::new(field.x + x.min(field.width.saturating_sub(1)), field.y)
}

/// Asks what becomes of the command.
pub(super) fn leaving(buffer: &mut Buffer, area: Rect, palette: Palette) {
    blank(buffer, area, palette);
    let text = if area.width >= 70 {
        "The command still runs.  e: end it and quit  l: leave it running  Esc: stay"
    } else {
        "e end command, l leave it, Esc stay"
    };
    put(buffer, area, 0, text, palette.warning());
}

fn blank(buffer: &mut Buffer, area: Rect, palette: Palette) {
    let spaces = " ".repeat(usize::from(area.width));
    buffer.set_style(area, ratatui::style::Style::reset());
    put(buffer, area, 0, &spaces, palette.plain());
}
