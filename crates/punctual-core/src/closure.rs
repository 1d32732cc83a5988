//! Closures as tasks: they live as long as the process, and so do the jobs that call them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::job::JobArgs;
use crate::task::Task;

/// The task of every job that calls a closure; its only argument says which.
pub(crate) const CLOSURE_TASK: &str = "punctual:closure";
/// The alias of the memory store that has these jobs.
pub(crate) const CLOSURE_STORE: &str = "punctual:local";
/// What names of our own begin with, and nobody else's may.
pub(crate) const RESERVED: &str = "punctual:";

/// The closures of one scheduler, by number. All clones are one table.
#[derive(Clone, Default)]
pub(crate) struct Closures(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    made: u64,
    closures: HashMap<u64, Arc<dyn Task>>,
    /// Those whose jobs are on their way to the store.
    adding: HashSet<u64>,
    /// How many were left after the last look for those whose jobs are gone.
    kept: usize,
}

impl fmt::Debug for Closures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Closures({})", self.with(|table| table.closures.len()))
    }
}

impl Closures {
    fn with<T>(&self, f: impl FnOnce(&mut Table) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps a closure, at least until the answer is dropped, by when a job should call it.
    pub(crate) fn insert(&self, closure: Arc<dyn Task>) -> Adding {
        let number = self.with(|table| {
            table.made += 1;
            let number = table.made;
            table.closures.insert(number, closure);
            table.adding.insert(number);
            number
        });
        Adding {
            closures: self.clone(),
            number,
        }
    }

    /// The closure that a job's arguments name.
    pub(crate) fn get(&self, args: &JobArgs) -> Option<Arc<dyn Task>> {
        let number = number(args)?;
        self.with(|table| table.closures.get(&number).cloned())
    }

    /// Whether so many came since the last look that another is worth it: each then costs a constant on average.
    pub(crate) fn wants_sweep(&self) -> bool {
        self.with(|table| table.closures.len() > 2 * table.kept + 64)
    }

    /// Those whose jobs were added, to be asked for before the jobs are looked at.
    pub(crate) fn added(&self) -> HashSet<u64> {
        self.with(|table| {
            let all = table.closures.keys().copied();
            all.filter(|number| !table.adding.contains(number))
                .collect()
        })
    }

    /// Lets go of those of `added` that none of `jobs` calls.
    pub(crate) fn sweep<'a>(&self, added: &HashSet<u64>, jobs: impl Iterator<Item = &'a JobArgs>) {
        let called: HashSet<u64> = jobs.filter_map(number).collect();
        self.with(|table| {
            let is_wanted = |number: &u64| called.contains(number) || !added.contains(number);
            table.closures.retain(|number, _| is_wanted(number));
            table.kept = table.closures.len();
        });
    }
}

/// A closure whose job is being added.
pub(crate) struct Adding {
    closures: Closures,
    number: u64,
}

impl Adding {
    /// The arguments of the job that calls it.
    pub(crate) fn args(&self) -> Vec<Value> {
        vec![self.number.into()]
    }
}

impl Drop for Adding {
    fn drop(&mut self) {
        self.closures
            .with(|table| table.adding.remove(&self.number));
    }
}

fn number(args: &JobArgs) -> Option<u64> {
    args.args.first()?.as_u64()
}
