//! Definitions that were read and compiled, so that a fire neither parses JSON nor compiles a trigger.

use std::collections::HashMap;
use std::sync::Arc;

use punctual_core::id::{JobId, JobKey};
use punctual_core::job::JobDefinition;

/// What is different after every change of a definition: the life of the id, and the revision.
pub(crate) type Edition = (JobKey, u64);

/// A bounded map that forgets what was not asked for lately: what is found in the older half moves to the younger, and
/// when that is full the older half goes.
#[derive(Debug)]
pub(crate) struct Cache {
    young: HashMap<JobId, Entry>,
    old: HashMap<JobId, Entry>,
    half: usize,
}

#[derive(Debug)]
struct Entry {
    edition: Edition,
    definition: Arc<JobDefinition>,
}

impl Cache {
    pub(crate) fn new(definitions_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: (definitions_max / 2).max(1),
        }
    }

    /// The definition of a job, if it is that of this edition.
    pub(crate) fn get(&mut self, id: &JobId, edition: Edition) -> Option<Arc<JobDefinition>> {
        if let Some(entry) = self.young.get(id) {
            return (entry.edition == edition).then(|| Arc::clone(&entry.definition));
        }
        let entry = self
            .old
            .remove(id)
            .filter(|entry| entry.edition == edition)?;
        let definition = Arc::clone(&entry.definition);
        self.insert(id.clone(), entry);
        Some(definition)
    }

    pub(crate) fn put(&mut self, edition: Edition, definition: &Arc<JobDefinition>) {
        let entry = Entry {
            edition,
            definition: Arc::clone(definition),
        };
        self.insert(definition.id.clone(), entry);
    }

    fn insert(&mut self, id: JobId, entry: Entry) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, entry);
    }

    pub(crate) fn remove(&mut self, id: &JobId) {
        self.young.remove(id);
        self.old.remove(id);
    }
}
