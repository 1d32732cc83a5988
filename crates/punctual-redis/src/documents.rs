//! The text of definitions that were read before: most claims and finishes read jobs whose definition has not changed.

use std::collections::HashMap;
use std::sync::Arc;

use punctual_core::id::{JobId, JobKey};
use punctual_core::job::JobState;

/// What tells one definition of an id from its others.
type Edition = (JobKey, u64);

fn edition(state: &JobState) -> Edition {
    (state.key, state.revision)
}

/// So many definitions, none of them for sure.
#[derive(Debug)]
pub(crate) struct Documents {
    known: HashMap<JobId, (Edition, Arc<str>)>,
    count_max: usize,
}

impl Documents {
    pub(crate) fn new(count_max: usize) -> Self {
        Self {
            known: HashMap::new(),
            count_max,
        }
    }

    pub(crate) fn get(&self, id: &JobId, state: &JobState) -> Option<Arc<str>> {
        let (known, document) = self.known.get(id)?;
        (*known == edition(state)).then(|| Arc::clone(document))
    }

    pub(crate) fn put(&mut self, id: &JobId, state: &JobState, document: &Arc<str>) {
        if self.known.len() >= self.count_max && !self.known.contains_key(id) {
            // Whichever comes first goes: with more jobs than fit, none is better than another.
            let Some(first) = self.known.keys().next().cloned() else {
                return;
            };
            self.known.remove(&first);
        }
        let entry = (edition(state), Arc::clone(document));
        self.known.insert(id.clone(), entry);
    }
}
