//! Draws the screen: header, tabs, the pane or the page over it, and the line of keys.
//!
//! | file | draws |
//! |---|---|
//! | `palette` | colours, or what replaces them |
//! | `table` | a pane as a table |
//! | `pages` | the pages: help, events of a process, alerts, and the command's output |
//! | `dialog` | the prompt, and the question before leaving |

mod dialog;
mod pages;
mod palette;
mod table;

use driver_api::event::Loss;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::app::{App, Page};
use crate::model::{CaptureState, Model};
use crate::pane::Pane;
use crate::text::{bytes, number, rate, short};
pub(crate) use palette::Palette;

/// The smallest screen that something is drawn on.
const NARROWEST: u16 = 20;
const LOWEST: u16 = 6;
/// The screen that also has lists at its right.
const WIDE: u16 = 150;
const TALL: u16 = 30;
const SIDE: u16 = 46;

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, app: &mut App, now: &Model) {
    let frozen = app.frozen.take();
    let model = frozen.as_deref().unwrap_or(now);
    let palette = Palette {
        has_colours: app.has_colours,
    };
    let area = frame.area();
    if area.width < NARROWEST || area.height < LOWEST {
        let text = "too small";
        put(frame.buffer_mut(), area, 0, text, palette.plain());
        app.frozen = frozen;
        return;
    }
    app.width = area.width;
    let mut rest = area;
    header(
        frame.buffer_mut(),
        &mut rest,
        app,
        (model, now),
        frozen.is_some(),
        palette,
    );
    let footer_at = Rect {
        y: area.y + area.height - 1,
        height: 1,
        ..area
    };
    rest.height = rest.height.saturating_sub(1);
    app.height = usize::from(rest.height.saturating_sub(1)).max(1);
    if app.pages.is_empty() {
        let side = area.width >= WIDE && area.height >= TALL;
        if side {
            let right = Rect {
                x: rest.x + rest.width - SIDE,
                width: SIDE,
                ..rest
            };
            rest.width -= SIDE + 1;
            table::side(frame.buffer_mut(), right, app, model, palette);
        }
        pane(frame.buffer_mut(), rest, app, model, palette);
    } else {
        pages::page(frame.buffer_mut(), rest, app, model, palette);
    }
    if app.asks_to_leave {
        dialog::leaving(frame.buffer_mut(), footer_at, palette);
    } else if let Some(prompt) = &app.prompt {
        let cursor = dialog::prompt(frame.buffer_mut(), rest, footer_at, prompt, palette);
        frame.set_cursor_position(cursor);
    } else {
        footer(frame.buffer_mut(), footer_at, app, palette);
    }
    app.frozen = frozen;
}

/// Writes a text into one line of an area, cut at its end.
fn put(buffer: &mut Buffer, area: Rect, line: u16, text: &str, style: Style) {
    if line < area.height {
        let width = usize::from(area.width);
        buffer.set_stringn(area.x, area.y + line, text, width, style);
    }
}

/// Writes a text at the left and one at the right of a line. The one at the right is not cut.
fn put_both(buffer: &mut Buffer, area: Rect, left: (&str, Style), right: (&str, Style)) {
    let right_width = u16::try_from(right.0.chars().count()).unwrap_or(u16::MAX);
    let right_width = right_width.min(area.width);
    let left_area = Rect {
        width: area.width.saturating_sub(right_width + 1),
        ..area
    };
    put(buffer, left_area, 0, left.0, left.1);
    let right_area = Rect {
        x: area.x + area.width - right_width,
        width: right_width,
        ..area
    };
    put(buffer, right_area, 0, right.0, right.1);
}

/// Takes one line from the top of an area.
fn line(area: &mut Rect) -> Rect {
    let height = area.height.min(1);
    let line = Rect { height, ..*area };
    area.y += height;
    area.height -= height;
    line
}

/// `now` has the losses and costs of this moment, also while the picture is stopped.
fn header(
    buffer: &mut Buffer,
    area: &mut Rect,
    app: &App,
    (model, now): (&Model, &Model),
    is_paused: bool,
    palette: Palette,
) {
    let facts = &model.facts;
    let is_narrow = area.width < 60;
    let left = if is_narrow {
        facts.driver.clone()
    } else {
        format!("lanner top  {}  {}", facts.driver, facts.target)
    };
    let right = if is_narrow {
        format!("{}/s {}", rate(model.total.rate), short(model.total.events))
    } else {
        format!(
            "{} events/s, {} in all",
            rate(model.total.rate),
            number(model.total.events)
        )
    };
    let right = match (is_paused, &model.source) {
        (true, _) if is_narrow => format!("PAUSED {right}"),
        (true, _) => format!("PAUSED  {right}"),
        (false, CaptureState::Ended(_)) if is_narrow => format!("ENDED {right}"),
        (false, CaptureState::Ended(why)) => format!("ENDED: {why}  {right}"),
        (false, CaptureState::Running) => right,
    };
    put_both(
        buffer,
        line(area),
        (&left, palette.title()),
        (&right, palette.plain()),
    );
    let stats = &now.facts.stats;
    let lost = stats.lost_total();
    let mut left = format!("lost {}", number(lost));
    if lost > 0 {
        let causes: Vec<String> = (Loss::ALL.iter().zip(stats.lost))
            .filter(|(_, count)| *count > 0)
            .map(|(cause, count)| format!("{} {}", cause.name(), short(count)))
            .collect();
        left.push_str(&format!(" ({})", causes.join(", ")));
    }
    let cpu = now.cost.cpu_percent;
    let memory = now.cost.resident.map_or("-".to_owned(), bytes);
    let cost = if is_narrow {
        format!("CPU {cpu:.0}% {memory}")
    } else {
        format!("lanner itself: CPU {cpu:.1}%, memory {memory}")
    };
    let lost_style = if lost > 0 {
        palette.bad()
    } else {
        palette.good()
    };
    put_both(
        buffer,
        line(area),
        (&left, lost_style),
        (&cost, palette.plain()),
    );
    if let Some(notice) = &now.notice {
        put(buffer, line(area), 0, notice, palette.bad());
    }
    if !model.filter.is_empty() {
        let text = format!("filter: {}", model.filter);
        put(buffer, line(area), 0, &text, palette.warning());
    }
    tabs(buffer, line(area), app, model, palette);
}

fn tabs(buffer: &mut Buffer, area: Rect, app: &App, model: &Model, palette: Palette) {
    let labels = |names: fn(Pane) -> &'static str| -> Vec<String> {
        let panes = app.panes.iter().enumerate();
        panes
            .map(|(at, pane)| {
                let new = match pane {
                    Pane::Output => {
                        let output = model.output.as_ref();
                        output.is_some_and(|lines| {
                            lines.gone + lines.lines.len() as u64 > app.output_seen
                        })
                    }
                    Pane::Alerts => model.alerts.total.events > 0,
                    Pane::Losses => model.facts.stats.lost_total() > 0,
                    Pane::Processes
                    | Pane::Calls
                    | Pane::Files
                    | Pane::Connections
                    | Pane::Containers => false,
                };
                let mark = if new { "!" } else { "" };
                format!("{}{}{mark}", at + 1, names(*pane))
            })
            .collect()
    };
    let mut all = labels(|pane| pane.names().0);
    for shorter in [|pane: Pane| pane.names().1, |_: Pane| ""] {
        let width: usize = all.iter().map(|label| label.len() + 1).sum();
        if width <= usize::from(area.width) {
            break;
        }
        all = labels(shorter);
    }
    if area.height == 0 {
        return;
    }
    buffer.set_style(area, palette.bar());
    let mut x = area.x;
    for (at, label) in all.iter().enumerate() {
        let left = usize::from((area.x + area.width).saturating_sub(x));
        let style = if at == app.at {
            palette.selected()
        } else {
            palette.bar()
        };
        buffer.set_stringn(x, area.y, label, left, style);
        x = x.saturating_add(u16::try_from(label.len() + 1).unwrap_or(u16::MAX));
        if x >= area.x + area.width {
            break;
        }
    }
}

fn pane(buffer: &mut Buffer, area: Rect, app: &mut App, model: &Model, palette: Palette) {
    match app.pane() {
        Pane::Output => pages::output(buffer, area, app, model, palette),
        Pane::Losses => {
            let rows = u16::try_from(Loss::ALL.len() + 1).unwrap_or(u16::MAX);
            let height = rows.min(area.height);
            let above = Rect { height, ..area };
            table::table(buffer, above, app, model, palette);
            let below = Rect {
                y: area.y + height,
                height: area.height - height,
                ..area
            };
            pages::gaps(buffer, below, model, palette);
        }
        Pane::Processes
        | Pane::Alerts
        | Pane::Calls
        | Pane::Files
        | Pane::Connections
        | Pane::Containers => table::table(buffer, area, app, model, palette),
    }
}

/// The keys that are most useful now, as far as there is room.
fn footer(buffer: &mut Buffer, area: Rect, app: &App, palette: Palette) {
    if let Some(message) = &app.message {
        put(buffer, area, 0, message, palette.warning());
        return;
    }
    let pause = if app.frozen.is_some() {
        "p go on"
    } else {
        "p pause"
    };
    let keys: &[&str] = match (app.pages.last(), app.pane()) {
        (Some(Page::Rule { .. }), _) => &["Enter open", "Esc back", "? help", "q quit"],
        (Some(_), _) => &["Esc back", "Arrows scroll", pause, "? help", "q quit"],
        (None, Pane::Output) => &["? help", "Arrows scroll", pause, "q quit", "Tab next"],
        (None, Pane::Processes) => &[
            "? help",
            "/ filter",
            "Enter follow",
            "s sort",
            pause,
            "q quit",
            "t tree",
            "e ended",
        ],
        (None, _) => &[
            "? help",
            "/ filter",
            "Enter open",
            "s sort",
            pause,
            "q quit",
            "Tab next",
        ],
    };
    let mut x = area.x;
    for key in keys {
        let width = u16::try_from(key.chars().count()).unwrap_or(u16::MAX);
        if x.saturating_add(width) > area.x + area.width {
            break;
        }
        let (name, does) = key.split_once(' ').unwrap_or((key, ""));
        buffer.set_string(x, area.y, name, palette.key());
        let at = x + u16::try_from(name.len()).unwrap_or(0) + 1;
        buffer.set_string(at, area.y, does, palette.dim());
        x = x.saturating_add(width + 2);
    }
}
