//! The memory store runs the suite.

use std::sync::Arc;

use punctual_conformance::{FreshStore, Place};
use punctual_core::clock::SimClock;
use punctual_core::memory::MemoryStore;
use punctual_core::store::{BoxFuture, JobStore, StoreResult};

/// There is no place: what is stored is gone with the store.
struct Memory;

impl FreshStore for Memory {
    fn fresh(&self) -> Box<dyn Place> {
        Box::new(Memory)
    }
}

impl Place for Memory {
    fn open(&self, clock: &SimClock) -> BoxFuture<'_, StoreResult<Arc<dyn JobStore>>> {
        let store: Arc<dyn JobStore> = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        Box::pin(std::future::ready(Ok(store)))
    }
}

mod memory {
    use super::Memory;

    punctual_conformance::job_store_suite!(Memory);
}
