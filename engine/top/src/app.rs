//! What the user looks at, and what keys do. It knows keys, but no terminal.

use inspect::ProcessKey;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::filter::equals;
use crate::model::{CaptureState, Model};
use crate::pane::{Order, Pane, RowKey};
use crate::prompt::{Prompt, Typed};
use driver_api::table::SYSCALLS;

/// What is left to do after a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Nothing,
    /// Leave; a command goes on.
    Quit,
    /// End the command, and leave.
    EndCommand,
    /// Stop, as a shell's ^Z does.
    Suspend,
    /// Count events that fulfil this condition alone. Empty: all events.
    Filter(String),
    /// Count anew.
    Clear,
    /// Draw everything again.
    Redraw,
    /// Follow a process. None: no longer.
    Follow(Option<ProcessKey>),
}

/// How a pane is looked at.
#[derive(Debug)]
pub(crate) struct PaneState {
    pub(crate) sort: usize,
    pub(crate) is_reversed: bool,
    /// The row that the user chose. None: the first.
    pub(crate) chosen: Option<RowKey<'static>>,
    /// The row that is marked on the screen.
    pub(crate) marked: Option<RowKey<'static>>,
    /// How far the mark moves when rows are drawn next.
    pub(crate) moved: isize,
    /// The first row on the screen.
    pub(crate) offset: usize,
}

/// A text that is scrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scroll {
    /// The first line on the screen. None: the last lines are shown, also as more come.
    pub(crate) top: Option<usize>,
    /// Columns that are left out at the left.
    pub(crate) left: usize,
    /// How far it moves when it is drawn next.
    pub(crate) moved: isize,
}

impl Scroll {
    pub(crate) const BEGIN: Self = Self {
        top: Some(0),
        left: 0,
        moved: 0,
    };
    pub(crate) const END: Self = Self {
        top: None,
        left: 0,
        moved: 0,
    };
}

/// A page over the panes.
#[derive(Debug)]
pub(crate) enum Page {
    Help(Scroll),
    /// The events of a process.
    Events(ProcessKey, Scroll),
    /// The alerts of a rule; the alert that is marked, counted from the oldest that is kept.
    Rule {
        rule: usize,
        marked: usize,
        offset: usize,
    },
    /// An alert of a rule: its page, as it was when it was opened.
    Alert(Vec<String>, Scroll),
}

/// What the screen shows.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) panes: Vec<Pane>,
    pub(crate) at: usize,
    pub(crate) states: Vec<PaneState>,
    pub(crate) pages: Vec<Page>,
    pub(crate) prompt: Option<Prompt>,
    /// A command still runs, and the user wants to leave.
    pub(crate) asks_to_leave: bool,
    pub(crate) message: Option<String>,
    /// What is shown while the picture is stopped.
    pub(crate) frozen: Option<Box<Model>>,
    pub(crate) is_tree: bool,
    pub(crate) with_ended: bool,
    pub(crate) is_ascii: bool,
    pub(crate) has_colours: bool,
    pub(crate) has_command: bool,
    /// How the output is scrolled.
    pub(crate) output: Scroll,
    /// Lines of output that the user has seen.
    pub(crate) output_seen: u64,
    /// Rows of the pane on the screen.
    pub(crate) height: usize,
    /// The narrowest screen's width that columns are chosen for.
    pub(crate) width: u16,
}

impl App {
    pub(crate) fn new(has_command: bool, keeps_ended: bool) -> Self {
        let panes = Pane::ALL.to_vec();
        let state = |pane: &Pane| PaneState {
            sort: pane.first_sort(),
            is_reversed: false,
            chosen: None,
            marked: None,
            moved: 0,
            offset: 0,
        };
        Self {
            states: panes.iter().map(state).collect(),
            panes,
            at: 0,
            pages: Vec::new(),
            prompt: None,
            asks_to_leave: false,
            message: None,
            frozen: None,
            is_tree: true,
            with_ended: keeps_ended,
            is_ascii: false,
            has_colours: true,
            has_command,
            output: Scroll::END,
            output_seen: 0,
            height: 1,
            width: 80,
        }
    }

    pub(crate) fn pane(&self) -> Pane {
        self.panes.get(self.at).copied().unwrap_or(Pane::Processes)
    }

    pub(crate) fn state(&mut self) -> &mut PaneState {
        let at = self.at.min(self.states.len() - 1);
        &mut self.states[at]
    }

    pub(crate) fn order(&self) -> Order {
        let state = &self.states[self.at.min(self.states.len() - 1)];
        Order {
            by: state.sort,
            is_reversed: state.is_reversed,
            is_tree: self.is_tree,
            with_ended: self.with_ended,
            is_ascii: self.is_ascii,
        }
    }

    /// What a key does. `model` is what is counted now.
    pub(crate) fn key(&mut self, key: KeyEvent, model: &Model) -> Action {
        self.message = None;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('z') {
            return Action::Suspend;
        }
        if control && key.code == KeyCode::Char('l') {
            return Action::Redraw;
        }
        if self.asks_to_leave {
            return self.key_leaving(key);
        }
        if let Some(prompt) = &mut self.prompt {
            match prompt.key(key) {
                Typed::More => {}
                Typed::Cancelled => self.prompt = None,
                // the prompt stays until the condition is compiled
                Typed::Done => return Action::Filter(prompt.text.trim().to_owned()),
            }
            return Action::Nothing;
        }
        match key.code {
            KeyCode::Char('c') if control => return self.quit(model),
            KeyCode::Char('q') => return self.quit(model),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => {
                if !matches!(self.pages.last(), Some(Page::Help(_))) {
                    self.pages.push(Page::Help(Scroll::BEGIN));
                }
            }
            KeyCode::Char('/' | 'f') => self.prompt = Some(Prompt::new(&model.filter)),
            KeyCode::Char('p' | ' ') => {
                self.frozen = match self.frozen {
                    Some(_) => None,
                    None => Some(Box::new(model.clone())),
                };
            }
            KeyCode::Char('z') => return Action::Clear,
            KeyCode::Char(c @ '1'..='8') if !control => {
                let at = usize::from(c as u8 - b'1');
                if at < self.panes.len() {
                    self.pages.clear();
                    self.at = at;
                    return Action::Follow(None);
                }
            }
            KeyCode::Tab => return self.turn(1),
            KeyCode::BackTab => return self.turn(self.panes.len() - 1),
            _ if !self.pages.is_empty() => return self.key_page(key, model),
            _ if self.pane() == Pane::Output => scroll(&mut self.output, key, self.height),
            _ => return self.key_pane(key, model),
        }
        Action::Nothing
    }

    fn turn(&mut self, by: usize) -> Action {
        self.pages.clear();
        self.at = (self.at + by) % self.panes.len();
        Action::Follow(None)
    }

    fn quit(&mut self, model: &Model) -> Action {
        if self.has_command && model.source == CaptureState::Running {
            self.asks_to_leave = true;
            return Action::Nothing;
        }
        Action::Quit
    }

    fn key_leaving(&mut self, key: KeyEvent) -> Action {
        match key.code {
            KeyCode::Char('e' | 'E') => Action::EndCommand,
            KeyCode::Char('l' | 'L') => Action::Quit,
            KeyCode::Esc | KeyCode::Char('q' | 'n' | 'c') => {
                self.asks_to_leave = false;
                Action::Nothing
            }
            _ => Action::Nothing,
        }
    }

    fn key_pane(&mut self, key: KeyEvent, model: &Model) -> Action {
        let page = isize::try_from(self.height.max(2) - 1).unwrap_or(1);
        let state = self.state();
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => state.moved -= 1,
            KeyCode::Down | KeyCode::Char('j') => state.moved += 1,
            KeyCode::PageUp => state.moved -= page,
            KeyCode::PageDown => state.moved += page,
            KeyCode::Home | KeyCode::Char('g') => {
                (state.chosen, state.moved, state.offset) = (None, 0, 0);
            }
            KeyCode::End | KeyCode::Char('G') => state.moved = isize::MAX / 2,
            KeyCode::Char('s') | KeyCode::Right => self.sort_by_next(1),
            KeyCode::Char('S') | KeyCode::Left => self.sort_by_next(-1),
            KeyCode::Char('r') => state.is_reversed = !state.is_reversed,
            KeyCode::Char('t') => self.is_tree = !self.is_tree,
            KeyCode::Char('e') => self.with_ended = !self.with_ended,
            KeyCode::Enter => return self.open(model),
            KeyCode::Esc => {
                (state.chosen, state.moved) = (None, 0);
            }
            _ => {}
        }
        Action::Nothing
    }

    /// Sorts by the next column that is on the screen.
    fn sort_by_next(&mut self, by: isize) {
        let columns = self.pane().columns();
        let (width, count) = (self.width, columns.len());
        if count == 0 {
            return;
        }
        let state = self.state();
        let step = if by > 0 { 1 } else { count - 1 };
        for _ in 0..count {
            state.sort = (state.sort + step) % count;
            if columns[state.sort].from <= width {
                break;
            }
        }
        state.is_reversed = false;
    }

    /// Enter on a row.
    fn open(&mut self, model: &Model) -> Action {
        let pane = self.pane();
        let Some(marked) = self.state().marked.clone() else {
            return Action::Nothing;
        };
        let condition = match (pane, &marked) {
            (Pane::Processes, RowKey::Process(key)) => {
                self.pages.push(Page::Events(*key, Scroll::END));
                return Action::Follow(Some(*key));
            }
            (Pane::Alerts, RowKey::Place(rule)) => {
                let latest = model.alerts.rules.get(*rule).map(|rule| rule.latest.len());
                self.pages.push(Page::Rule {
                    rule: *rule,
                    marked: latest.unwrap_or(0).saturating_sub(1),
                    offset: 0,
                });
                return Action::Nothing;
            }
            (Pane::Calls, RowKey::Place(call)) => {
                let call = SYSCALLS.get(*call);
                call.map(|call| format!("evt.type = {}", call.name))
            }
            (Pane::Files, RowKey::Name(name)) => equals("fs.path.name", name)
                .map(|path| path + " or " + &equals("fd.name", name).unwrap_or_default()),
            (Pane::Connections, RowKey::Name(name)) => equals("fd.name", name),
            (Pane::Containers, RowKey::Name(id)) => equals("container.id", id),
            _ => return Action::Nothing,
        };
        match condition {
            Some(condition) => self.prompt = Some(Prompt::new(&condition)),
            None => {
                self.message = Some("this name cannot be written in a condition".to_owned());
            }
        }
        Action::Nothing
    }

    fn key_page(&mut self, key: KeyEvent, model: &Model) -> Action {
        let height = self.height;
        if matches!(key.code, KeyCode::Esc | KeyCode::Backspace) {
            let was_following = matches!(self.pages.pop(), Some(Page::Events(..)));
            if was_following {
                return Action::Follow(None);
            }
            return Action::Nothing;
        }
        let mut opened = None;
        match self.pages.last_mut() {
            Some(Page::Help(at) | Page::Events(_, at) | Page::Alert(_, at)) => {
                scroll(at, key, height);
            }
            Some(Page::Rule { rule, marked, .. }) => {
                let latest = model.alerts.rules.get(*rule).map(|rule| rule.latest.len());
                let last = latest.unwrap_or(0).saturating_sub(1);
                match key.code {
                    // the newest alert is the first
                    KeyCode::Up | KeyCode::Char('k') => *marked = (*marked + 1).min(last),
                    KeyCode::Down | KeyCode::Char('j') => *marked = marked.saturating_sub(1),
                    KeyCode::PageUp => *marked = (*marked + height).min(last),
                    KeyCode::PageDown => *marked = marked.saturating_sub(height),
                    KeyCode::Home | KeyCode::Char('g') => *marked = last,
                    KeyCode::End | KeyCode::Char('G') => *marked = 0,
                    KeyCode::Enter => {
                        let place = last.checked_sub(*marked);
                        opened = place.and_then(|place| model.alerts.page(*rule, place));
                    }
                    _ => {}
                }
            }
            None => {}
        }
        if let Some(lines) = opened {
            self.pages.push(Page::Alert(lines, Scroll::BEGIN));
        }
        Action::Nothing
    }
}

fn scroll(at: &mut Scroll, key: KeyEvent, height: usize) {
    let page = isize::try_from(height.max(2) - 1).unwrap_or(1);
    match key.code {
        KeyCode::Up | KeyCode::Char('k') => at.moved -= 1,
        KeyCode::Down | KeyCode::Char('j') => at.moved += 1,
        KeyCode::PageUp => at.moved -= page,
        KeyCode::PageDown => at.moved += page,
        KeyCode::Home | KeyCode::Char('g') => (at.top, at.moved) = (Some(0), 0),
        KeyCode::End | KeyCode::Char('G') => (at.top, at.moved) = (None, 0),
        KeyCode::Right => at.left += 16,
        KeyCode::Left => at.left = at.left.saturating_sub(16),
        _ => {}
    }
}
