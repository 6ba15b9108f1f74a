//! A pane as a table, and the short lists beside it on wide screens.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Palette, line, put};
use crate::app::App;
use crate::columns::Column;
use crate::model::Model;
use crate::pane::{Order, Pane, Row, RowKey, rows};

/// Draws the current pane, and remembers which row is marked.
pub(super) fn table(
    buffer: &mut Buffer,
    area: Rect,
    app: &mut App,
    model: &Model,
    palette: Palette,
) {
    let (pane, order) = (app.pane(), app.order());
    let all = rows(pane, model, order);
    let mut rest = area;
    let columns = pane.columns();
    let shown = Shown::new(columns, area.width);
    shown.head(buffer, line(&mut rest), Some(order), palette);
    let height = usize::from(rest.height);
    let state = app.state();
    let at = |key: &RowKey<'_>| all.iter().position(|row| row.key == *key);
    let before = state.chosen.as_ref().and_then(at).unwrap_or(0);
    let marked = before
        .saturating_add_signed(state.moved)
        .min(all.len().saturating_sub(1));
    if state.moved != 0 {
        state.moved = 0;
        state.chosen = all.get(marked).map(|row| row.key.clone().into_owned());
    }
    state.marked = all.get(marked).map(|row| row.key.clone().into_owned());
    state.offset = window(state.offset, marked, height, all.len());
    if all.is_empty() {
        put(buffer, rest, 0, &empty(pane, model), palette.dim());
    }
    for (at, row) in all.iter().enumerate().skip(state.offset).take(height) {
        let style = if at == marked {
            palette.selected()
        } else {
            palette.tone(row.tone)
        };
        let area = line(&mut rest);
        buffer.set_style(area, style);
        shown.row(buffer, area, row);
    }
}

/// The first row of a window in which the marked one is.
pub(super) fn window(offset: usize, marked: usize, height: usize, all: usize) -> usize {
    let height = height.max(1);
    let least = marked.saturating_sub(height - 1);
    offset.clamp(least, marked).min(all.saturating_sub(height))
}

/// What is said where there are no rows.
fn empty(pane: Pane, model: &Model) -> String {
    match pane {
        Pane::Alerts => match &model.alerts.off {
            Some(why) => format!("no alerts: {why}"),
            None => format!("no alert of {} rules yet", model.alerts.rules.len()),
        },
        Pane::Containers => "no events of containers yet".to_owned(),
        Pane::Processes
        | Pane::Calls
        | Pane::Files
        | Pane::Connections
        | Pane::Losses
        | Pane::Output => "no events yet".to_owned(),
    }
}

/// The columns that fit.
struct Shown<'a> {
    columns: &'a [Column],
    screen: u16,
}

impl<'a> Shown<'a> {
    fn new(columns: &'a [Column], screen: u16) -> Self {
        Self { columns, screen }
    }

    /// Calls `each` with each column that fits: its place, the column, and where it is.
    fn each(&self, area: Rect, mut each: impl FnMut(usize, &Column, Rect)) {
        let mut x = area.x;
        let end = area.x + area.width;
        for (at, column) in self.columns.iter().enumerate() {
            if column.from > self.screen || x >= end {
                continue;
            }
            let left = end - x;
            let width = if column.width == 0 {
                left
            } else {
                column.width.min(left)
            };
            each(at, column, Rect { x, width, ..area });
            x += width + 1;
        }
    }

    fn head(&self, buffer: &mut Buffer, area: Rect, order: Option<Order>, palette: Palette) {
        buffer.set_style(area, palette.dim());
        self.each(area, |at, column, area| {
            let is_sorted = order.is_some_and(|order| order.by == at);
            let mark = match order {
                Some(order) if is_sorted && order.is_reversed => "^",
                Some(_) if is_sorted => "*",
                _ => "",
            };
            let title = format!("{}{mark}", column.title);
            let style = if is_sorted {
                palette.title()
            } else {
                palette.dim()
            };
            put(buffer, place(area, &title, column), 0, &title, style);
        });
    }

    fn row(&self, buffer: &mut Buffer, area: Rect, row: &Row<'_>) {
        self.each(area, |at, column, area| {
            if let Some(cell) = row.cells.get(at) {
                let mut text = cell.text();
                let width = usize::from(area.width);
                let count = text.chars().count();
                if column.is_path && count > width && width > 3 {
                    let end: String = text.chars().skip(count - (width - 3)).collect();
                    text = format!("...{end}").into();
                }
                let area = place(area, &text, column);
                // the style of the row is there already
                put(buffer, area, 0, &text, ratatui::style::Style::new());
            }
        });
    }
}

/// Where a text goes in its column.
fn place(area: Rect, text: &str, column: &Column) -> Rect {
    if !column.is_number {
        return area;
    }
    let width = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
    let space = area.width.saturating_sub(width);
    Rect {
        x: area.x + space,
        width: area.width - space,
        ..area
    }
}

/// Short lists of panes that are not in the middle.
pub(super) fn side(buffer: &mut Buffer, area: Rect, app: &App, model: &Model, palette: Palette) {
    let panes = [
        Pane::Alerts,
        Pane::Calls,
        Pane::Connections,
        Pane::Containers,
    ];
    let mut panes: Vec<Pane> = panes
        .into_iter()
        .filter(|pane| *pane != app.pane())
        .collect();
    panes.truncate(3);
    let each = area.height / 3;
    for (at, pane) in panes.into_iter().enumerate() {
        let mut rest = Rect {
            y: area.y + each * u16::try_from(at).unwrap_or(0),
            height: each,
            ..area
        };
        let title = format!("{} ", pane.names().0);
        let head = line(&mut rest);
        put(buffer, head, 0, &title, palette.title());
        let order = Order {
            by: pane.first_sort(),
            is_reversed: false,
            ..app.order()
        };
        let all = rows(pane, model, order);
        let shown = Shown::new(pane.columns(), area.width);
        if all.is_empty() {
            put(buffer, rest, 0, &empty(pane, model), palette.dim());
        }
        for row in all.iter().take(usize::from(rest.height.saturating_sub(1))) {
            let area = line(&mut rest);
            buffer.set_style(area, palette.tone(row.tone));
            shown.row(buffer, area, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::window;

    #[test]
    fn the_marked_row_is_always_in_the_window() {
        assert_eq!(window(0, 0, 5, 0), 0);
        assert_eq!(window(0, 4, 5, 10), 0);
        assert_eq!(window(0, 5, 5, 10), 1);
        assert_eq!(window(5, 2, 5, 10), 2);
        assert_eq!(window(9, 3, 5, 4), 0);
        assert_eq!(window(3, 3, 0, 9), 3);
    }
}
