//! Keys from the terminal, as bytes (console_codes(4), xterm's control sequences).
//!
//! crossterm's own reader does not return when the terminal has hung up, so lanner reads the bytes itself.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What begins sequences.
const ESC: u8 = 0x1b;
/// How long the rest of a sequence may take. An Esc that nothing follows is the key.
const REST: Duration = Duration::from_millis(50);

/// Reads keys.
#[derive(Debug)]
pub(crate) struct Keys {
    tty: File,
    bytes: VecDeque<u8>,
}

/// What a wait for a key gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Key(KeyEvent),
    /// There was none in time, or it was a sequence that means nothing here.
    Nothing,
    /// The terminal is gone.
    HungUp,
}

impl Keys {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self {
            tty: File::open("/dev/tty")?,
            bytes: VecDeque::new(),
        })
    }

    /// Waits for a key.
    pub(crate) fn wait(&mut self, time: Duration) -> io::Result<Waited> {
        if self.bytes.is_empty() && !self.fill(time)? {
            return Ok(Waited::HungUp);
        }
        // the rest of a sequence comes at once, but perhaps not in the same read
        while is_unfinished(self.bytes.make_contiguous()) {
            let before = self.bytes.len();
            if !self.fill(REST)? {
                return Ok(Waited::HungUp);
            }
            if self.bytes.len() == before {
                break;
            }
        }
        Ok(next(&mut self.bytes).map_or(Waited::Nothing, Waited::Key))
    }

    /// Reads what is there. False: the terminal is gone.
    fn fill(&mut self, time: Duration) -> io::Result<bool> {
        let mut poll = libc::pollfd {
            fd: self.tty.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let wait = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: poll(2) reads and writes one structure.
        match unsafe { libc::poll(&raw mut poll, 1, wait) } {
            0 => return Ok(true),
            1.. => {}
            _ => {
                let error = io::Error::last_os_error();
                return if error.kind() == io::ErrorKind::Interrupted {
                    Ok(true)
                } else {
                    Err(error)
                };
            }
        }
        let mut bytes = [0; 1024];
        match self.tty.read(&mut bytes) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.bytes.extend(&bytes[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            // the terminal has hung up (tty_ioctl(4)), or lanner is in the background of an orphaned group
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether a sequence or a character may still go on.
fn is_unfinished(bytes: &[u8]) -> bool {
    match bytes {
        [ESC] | [ESC, b'[' | b'O'] => true,
        [ESC, b'[', rest @ ..] => !rest.iter().any(|byte| (0x40..=0x7e).contains(byte)),
        [first, rest @ ..] => rest.len() + 1 < length(*first),
        [] => false,
    }
}

/// Bytes of the UTF-8 character that begins so.
fn length(first: u8) -> usize {
    match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    }
}

/// Takes the next key. None: what came means nothing here.
fn next(bytes: &mut VecDeque<u8>) -> Option<KeyEvent> {
    let first = bytes.pop_front()?;
    let plain = |code| Some(KeyEvent::new(code, KeyModifiers::NONE));
    match first {
        ESC => match bytes.front() {
            Some(b'[') => {
                bytes.pop_front();
                plain(sequence(bytes)?)
            }
            Some(b'O') => {
                bytes.pop_front();
                plain(named(bytes.pop_front()?)?)
            }
            _ => plain(KeyCode::Esc),
        },
        b'\r' | b'\n' => plain(KeyCode::Enter),
        b'\t' => plain(KeyCode::Tab),
        0x7f | 0x08 => plain(KeyCode::Backspace),
        1..=26 => {
            let letter = char::from(first + b'a' - 1);
            Some(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL))
        }
        0..=31 => None,
        _ => {
            let mut character = vec![first];
            while character.len() < length(first) {
                character.push(bytes.pop_front()?);
            }
            let text = std::str::from_utf8(&character).ok()?;
            plain(KeyCode::Char(text.chars().next()?))
        }
    }
}

/// The key of a sequence after `ESC [`. Modifiers are left out.
fn sequence(bytes: &mut VecDeque<u8>) -> Option<KeyCode> {
    let mut numbers = Vec::new();
    loop {
        let byte = bytes.pop_front()?;
        if (0x40..=0x7e).contains(&byte) {
            if byte != b'~' {
                return named(byte);
            }
            let number = numbers.split(|byte| *byte == b';').next();
            return match number.unwrap_or_default() {
                b"1" | b"7" => Some(KeyCode::Home),
                b"3" => Some(KeyCode::Delete),
                b"4" | b"8" => Some(KeyCode::End),
                b"5" => Some(KeyCode::PageUp),
                b"6" => Some(KeyCode::PageDown),
                b"11" => Some(KeyCode::F(1)),
                _ => None,
            };
        }
        if numbers.len() < 16 {
            numbers.push(byte);
        }
    }
}

/// The key of a sequence that ends in a letter.
fn named(letter: u8) -> Option<KeyCode> {
    match letter {
        b'A' => Some(KeyCode::Up),
        b'B' => Some(KeyCode::Down),
        b'C' => Some(KeyCode::Right),
        b'D' => Some(KeyCode::Left),
        b'F' => Some(KeyCode::End),
        b'H' => Some(KeyCode::Home),
        b'P' => Some(KeyCode::F(1)),
        b'Z' => Some(KeyCode::BackTab),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Option<KeyCode>> {
        let mut bytes: VecDeque<u8> = bytes.iter().copied().collect();
        let mut keys = Vec::new();
        while !bytes.is_empty() {
            keys.push(next(&mut bytes).map(|key| key.code));
        }
        keys
    }

    #[test]
    fn bytes_are_keys() {
        let some = |codes: &[KeyCode]| codes.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(
            keys(b"a\x1b[A\x1bOB\x1b[5~\x1b[1;5C\r\t\x7f\x1b[Z"),
            some(&[
                KeyCode::Char('a'),
                KeyCode::Up,
                KeyCode::Down,
                KeyCode::PageUp,
                KeyCode::Right,
                KeyCode::Enter,
                KeyCode::Tab,
                KeyCode::Backspace,
                KeyCode::BackTab,
            ])
        );
        assert_eq!(
            keys("\u{e9}\u{4e2d}".as_bytes()),
            some(&[KeyCode::Char('\u{e9}'), KeyCode::Char('\u{4e2d}')])
        );
        assert_eq!(keys(b"\x1b"), some(&[KeyCode::Esc]));
        let control = next(&mut VecDeque::from([3]));
        let expected = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(control, Some(expected));
    }

    #[test]
    fn nonsense_is_no_key_and_ends() {
        for bytes in [
            &b"\x1b[999999999999999999999999;1~"[..],
            b"\x1b[",
            b"\x1bO",
            b"\xff\xfe",
            b"\xc3",
            b"\0\x1d",
        ] {
            assert!(keys(bytes).iter().all(Option::is_none), "{bytes:?}");
        }
        assert!(is_unfinished(b"\x1b[1;") && is_unfinished(b"\xc3"));
        assert!(!is_unfinished(b"\x1b[A") && !is_unfinished(b"a") && !is_unfinished(b""));
    }
}
