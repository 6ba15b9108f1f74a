//! Colours, and what replaces them where the user wants none.

use ratatui::style::{Color, Modifier, Style};

use crate::pane::Tone;

/// How things look. Nothing is said by colour alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Palette {
    pub(crate) has_colours: bool,
}

impl Palette {
    fn coloured(self, color: Color, without: Modifier) -> Style {
        if self.has_colours {
            Style::new().fg(color)
        } else {
            Style::new().add_modifier(without)
        }
    }

    pub(crate) fn plain(self) -> Style {
        Style::new()
    }

    pub(crate) fn title(self) -> Style {
        self.coloured(Color::Cyan, Modifier::BOLD)
            .add_modifier(Modifier::BOLD)
    }

    pub(crate) fn dim(self) -> Style {
        self.coloured(Color::DarkGray, Modifier::DIM)
    }

    pub(crate) fn good(self) -> Style {
        self.coloured(Color::Green, Modifier::empty())
    }

    pub(crate) fn warning(self) -> Style {
        self.coloured(Color::Yellow, Modifier::BOLD)
    }

    pub(crate) fn bad(self) -> Style {
        self.coloured(Color::Red, Modifier::BOLD)
            .add_modifier(Modifier::BOLD)
    }

    pub(crate) fn key(self) -> Style {
        self.coloured(Color::Cyan, Modifier::BOLD)
    }

    /// The row of tabs, and heads of tables.
    pub(crate) fn bar(self) -> Style {
        if self.has_colours {
            Style::new().fg(Color::Black).bg(Color::Gray)
        } else {
            Style::new().add_modifier(Modifier::UNDERLINED)
        }
    }

    pub(crate) fn selected(self) -> Style {
        if self.has_colours {
            Style::new().fg(Color::Black).bg(Color::Cyan)
        } else {
            Style::new().add_modifier(Modifier::REVERSED)
        }
    }

    pub(crate) fn tone(self, tone: Tone) -> Style {
        match tone {
            Tone::Plain => self.plain(),
            Tone::Dim => self.dim(),
            Tone::Warning => self.warning(),
            Tone::Bad => self.bad(),
        }
    }
}
