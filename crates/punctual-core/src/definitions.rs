//! Definitions that were read and compiled, for job stores: so that a fire neither parses JSON nor compiles a trigger.

use std::collections::HashMap;
use std::sync::Arc;

use crate::id::JobId;
use crate::job::JobDefinition;

/// A bounded map that forgets what was not asked for lately: what is found in the older half moves to the younger, and
/// when that is full the older half goes. `E` is what a store tells one edition of a definition from the next by.
#[derive(Debug)]
pub struct DefinitionCache<E> {
    young: HashMap<JobId, Entry<E>>,
    old: HashMap<JobId, Entry<E>>,
    half: usize,
}

#[derive(Debug)]
struct Entry<E> {
    edition: E,
    definition: Arc<JobDefinition>,
}

impl<E: Copy + PartialEq> DefinitionCache<E> {
    /// Room for so many definitions, or a few more.
    pub fn new(definitions_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: (definitions_max / 2).max(1),
        }
    }

    /// The definition of a job, if it is that of this edition.
    pub fn get(&mut self, id: &JobId, edition: E) -> Option<Arc<JobDefinition>> {
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

    /// Keeps a definition.
    pub fn put(&mut self, edition: E, definition: &Arc<JobDefinition>) {
        let entry = Entry {
            edition,
            definition: Arc::clone(definition),
        };
        self.insert(definition.id.clone(), entry);
    }

    fn insert(&mut self, id: JobId, entry: Entry<E>) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, entry);
    }

    /// Forgets one.
    pub fn remove(&mut self, id: &JobId) {
        self.young.remove(id);
        self.old.remove(id);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}
