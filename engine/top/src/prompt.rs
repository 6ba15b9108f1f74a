//! The line in which the user types a condition.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::filter::complete;

/// The most characters of a condition.
const LONGEST: usize = 4096;

/// The line.
#[derive(Debug, Default)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    /// Where the cursor is, in bytes; between two characters.
    pub(crate) cursor: usize,
    /// Why the condition was refused.
    pub(crate) error: Option<String>,
    /// Names that Tab found.
    pub(crate) choices: Vec<&'static str>,
}

/// What a key did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    More,
    Done,
    Cancelled,
}

impl Prompt {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            cursor: text.len(),
            ..Self::default()
        }
    }

    pub(crate) fn key(&mut self, key: KeyEvent) -> Typed {
        self.choices.clear();
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Typed::Done,
            KeyCode::Esc => return Typed::Cancelled,
            KeyCode::Char('c' | 'g') if control => return Typed::Cancelled,
            KeyCode::Char('u') if control => {
                self.text.drain(..self.cursor);
                self.cursor = 0;
            }
            KeyCode::Char('k') if control => self.text.truncate(self.cursor),
            KeyCode::Char('w') if control => {
                let before = self.text[..self.cursor].trim_end();
                let at = before.rfind(' ').map_or(0, |at| at + 1);
                self.text.drain(at..self.cursor);
                self.cursor = at;
            }
            KeyCode::Char('a') if control => self.cursor = 0,
            KeyCode::Char('e') if control => self.cursor = self.text.len(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Left => self.cursor -= self.before(),
            KeyCode::Right => self.cursor += self.after(),
            KeyCode::Backspace => {
                let at = self.cursor - self.before();
                self.text.drain(at..self.cursor);
                self.cursor = at;
            }
            KeyCode::Delete => {
                let end = self.cursor + self.after();
                self.text.drain(self.cursor..end);
            }
            KeyCode::Tab => {
                let completion = complete(&self.text[..self.cursor]);
                self.insert(&completion.insert);
                self.choices = completion.choices;
            }
            KeyCode::Char(c) if !control && !c.is_control() => {
                self.insert(c.encode_utf8(&mut [0; 4]));
            }
            _ => return Typed::More,
        }
        self.error = None;
        Typed::More
    }

    fn insert(&mut self, text: &str) {
        if self.text.len() + text.len() <= LONGEST {
            self.text.insert_str(self.cursor, text);
            self.cursor += text.len();
        }
    }

    /// Bytes of the character before the cursor.
    fn before(&self) -> usize {
        let before = self.text[..self.cursor].chars().next_back();
        before.map_or(0, char::len_utf8)
    }

    /// Bytes of the character after the cursor.
    fn after(&self) -> usize {
        let after = self.text[self.cursor..].chars().next();
        after.map_or(0, char::len_utf8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(prompt: &mut Prompt, code: KeyCode) -> Typed {
        prompt.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn a_line_is_edited_and_completed() {
        let mut prompt = Prompt::default();
        for c in "proc.nam".chars() {
            press(&mut prompt, KeyCode::Char(c));
        }
        press(&mut prompt, KeyCode::Tab);
        assert_eq!(prompt.text, "proc.name ");
        for c in "=\u{e9}x".chars() {
            press(&mut prompt, KeyCode::Char(c));
        }
        press(&mut prompt, KeyCode::Left);
        press(&mut prompt, KeyCode::Backspace);
        press(&mut prompt, KeyCode::Delete);
        assert_eq!(prompt.text, "proc.name =");
        prompt.key(KeyEvent::new(KeyCode::Char('w'), KeyModifiers::CONTROL));
        assert_eq!(prompt.text, "proc.name ");
        press(&mut prompt, KeyCode::Home);
        press(&mut prompt, KeyCode::Backspace);
        press(&mut prompt, KeyCode::Left);
        prompt.key(KeyEvent::new(KeyCode::Char('k'), KeyModifiers::CONTROL));
        assert_eq!((prompt.text.as_str(), prompt.cursor), ("", 0));
        assert_eq!(press(&mut prompt, KeyCode::Esc), Typed::Cancelled);
        assert_eq!(press(&mut prompt, KeyCode::Enter), Typed::Done);
    }
}
