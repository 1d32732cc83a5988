//! Definitions that were read and compiled, so that a fire neither parses JSON nor compiles a trigger.

use std::collections::HashMap;
use std::sync::Arc;

use punctual_core::id::JobId;
use punctual_core::job::JobDefinition;

/// A bounded map that forgets what was not asked for lately: what is found in the older half moves to the younger, and
/// when that is full the older half goes.
#[derive(Debug)]
pub(super) struct Cache {
    young: HashMap<JobId, Entry>,
    old: HashMap<JobId, Entry>,
    half: usize,
}

#[derive(Debug)]
struct Entry {
    edition: (i64, i64),
    definition: Arc<JobDefinition>,
}

impl Cache {
    pub(super) fn new(definitions_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: (definitions_max / 2).max(1),
        }
    }

    /// The definition of a job, if it is that of this edition.
    pub(super) fn get(&mut self, id: &JobId, edition: (i64, i64)) -> Option<Arc<JobDefinition>> {
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

    pub(super) fn put(&mut self, edition: (i64, i64), definition: &Arc<JobDefinition>) {
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

    pub(super) fn remove(&mut self, id: &JobId) {
        self.young.remove(id);
        self.old.remove(id);
    }

    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}
