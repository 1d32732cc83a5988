//! Waking whoever waits for a change.

use std::sync::Arc;

use event_listener::Event;
use punctual_core::store::BoxFuture;

/// Wakes whoever awaits [`JobStore::changed`](punctual_core::store::JobStore::changed). Clones are the same.
#[derive(Debug, Default, Clone)]
pub struct Changed(Arc<Event>);

impl Changed {
    /// Something may be due earlier than it was said to be. To say so for nothing does no harm.
    pub fn notify(&self) {
        self.0.notify(usize::MAX);
    }

    /// Resolves with the next [`notify`](Self::notify).
    pub fn listen(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.0.listen())
    }
}
