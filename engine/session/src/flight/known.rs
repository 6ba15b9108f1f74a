//! What the session knows about containers, for the file of an alert: the thread that writes asks no runtime.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use inspect::{Container, ContainerSource, Inspector};

/// The containers that the session knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By id: those of the session.
    session: HashMap<Box<str>, Arc<Container>>,
    /// Those of the file about which nothing is known yet.
    waiting: Vec<Arc<Container>>,
}

impl Known {
    /// Takes over the containers that the session knows now.
    pub(super) fn learn(&self, inspector: &Inspector) {
        let known = inspector.containers();
        let known = known.map(|container| (container.id.clone(), Arc::clone(container)));
        self.inner().session = known.collect();
    }

    /// Answers for containers whose runtimes have answered the session meanwhile.
    pub(super) fn answer(&self) {
        let mut inner = self.inner();
        let Inner { session, waiting } = &mut *inner;
        waiting.retain(|container| !tell(session, container));
    }

    /// Nothing more is asked about the containers of a file.
    pub(super) fn forget(&self) {
        self.inner().waiting.clear();
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a container of the file what the session knows. False: it knows nothing yet.
fn tell(session: &HashMap<Box<str>, Arc<Container>>, container: &Container) -> bool {
    let known = session.get(&container.id);
    let answered = known.filter(|known| known.is_answered());
    if let Some(known) = answered {
        container.answer(known.metadata().cloned());
    }
    answered.is_some()
}

impl ContainerSource for Known {
    fn ask(&self, container: &Arc<Container>, _owner: Option<u32>) {
        let mut inner = self.inner();
        if !tell(&inner.session, container) {
            inner.waiting.push(Arc::clone(container));
        }
    }
}
