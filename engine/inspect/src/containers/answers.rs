//! What a file of events says about containers. It is the source for the state of a replay, which asks no runtime.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Container, ContainerSource, Image, Metadata, json, short};

/// The answers in a file.
#[derive(Debug, Default)]
pub struct RecordedAnswers {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the first twelve characters of the container's id.
    known: HashMap<String, Option<Metadata>>,
    waiting: Vec<Arc<Container>>,
    /// The file has no more answers.
    ended: bool,
}

/// The most containers that are kept.
const MAX: usize = 65_536;

impl ContainerSource for RecordedAnswers {
    fn ask(&self, container: &Arc<Container>, _owner: Option<u32>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.known.get(container.short_id()) {
            Some(known) => container.answer(known.clone()),
            None if inner.ended => container.answer(None),
            None => inner.waiting.push(Arc::clone(container)),
        }
    }
}

impl RecordedAnswers {
    /// Takes the JSON of an event ([`Container::json`]). Text that is not understood says nothing.
    pub fn take(&self, text: &[u8]) {
        if let Some((id, said)) = json::parse(text) {
            self.note(id, said);
        }
    }

    /// Takes what a capture from before the JSON says: the container's id, its name and that of its image.
    pub fn take_named(&self, id: &[u8], name: &[u8], image: &[u8]) {
        let string = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let said = Metadata {
            name: string(name),
            image: Image {
                name: string(image),
                ..Image::default()
            },
            ..Metadata::default()
        };
        self.note(short(&string(id)).to_owned(), Some(said));
    }

    fn note(&self, id: String, said: Option<Metadata>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.waiting.retain(|container| {
            let waits = container.short_id() != id;
            if !waits {
                container.answer(said.clone());
            }
            waits
        });
        if inner.known.len() < MAX {
            inner.known.insert(id, said);
        }
    }

    /// There are no more answers.
    pub fn end(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.ended = true;
        for container in inner.waiting.drain(..) {
            container.answer(None);
        }
    }
}
