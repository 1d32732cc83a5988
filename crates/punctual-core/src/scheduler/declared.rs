//! Jobs that a program's code declares: which of them it declared before and does no longer.

use std::collections::BTreeSet;

use serde_json::json;

use super::shared::{Attached, Shared, lock};
use crate::event::EventKind;
use crate::id::JobId;
use crate::store::{Expect, StoreResult};

/// Where the lists of declared jobs are kept, by application.
const NAMESPACE: &str = "declared";

/// What becomes of jobs that the program's code declared before and does no longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaleJobs {
    /// They go on, and are named in the log at every start, and by
    /// [`Scheduler::stale_jobs`](super::Scheduler::stale_jobs). The default.
    #[default]
    Report,
    /// They are removed at the start. While an older release of the program still runs beside this one, that one misses
    /// them.
    Prune,
}

/// What the code of this program declares.
#[derive(Debug)]
pub(super) struct Declared {
    /// Whose lists these are: programs that share a store do not take each other's jobs for stale.
    pub(super) application: String,
    pub(super) stale_jobs: StaleJobs,
    /// The job stores and ids, as far as they were added.
    pub(super) jobs: BTreeSet<(String, JobId)>,
}

/// The name of this program: that of its file.
pub(super) fn program_name() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_stem());
    name.map_or_else(|| "program".into(), |name| name.to_string_lossy())
        .into_owned()
}

/// Compares what is declared now with what was, reports or removes the rest, and writes down what is to be watched from now on. Done
/// when a store is opened, for it may be away before.
pub(super) async fn compare(shared: &Shared, attached: &Attached) -> StoreResult<()> {
    let Declared {
        application,
        stale_jobs,
        jobs,
    } = &shared.declared;
    let store = &attached.store;
    loop {
        let record = shared.deadline(store.record(NAMESPACE, application));
        let record = record.await?;
        let known: BTreeSet<JobId> = record
            .iter()
            .filter_map(|record| record.value["jobs"].as_array())
            .flatten()
            .filter_map(|id| JobId::new(id.as_str()?).ok())
            .collect();
        let mut watched: BTreeSet<JobId> = jobs
            .iter()
            .filter(|(alias, _)| **alias == *attached.alias)
            .map(|(_, id)| id.clone())
            .collect();
        let mut stale = Vec::new();
        for id in known.difference(&watched.clone()) {
            let is_there = match stale_jobs {
                StaleJobs::Report => shared.deadline(store.get(id)).await?.is_some(),
                StaleJobs::Prune => {
                    if shared.deadline(store.remove(id)).await?.is_some() {
                        tracing::info!(job = %id, "removed: the program's code declares it no longer");
                        shared.emit(EventKind::JobRemoved, |event| {
                            event.alias(&attached.alias).job(id)
                        });
                    }
                    false
                }
            };
            if is_there {
                tracing::warn!(job = %id, "the program's code declares it no longer; it goes on until somebody removes it");
                stale.push(id.clone());
                watched.insert(id.clone());
            }
        }
        *lock(&attached.stale) = stale;
        if watched == known {
            return Ok(());
        }
        let value = (!watched.is_empty()).then(|| json!({ "jobs": watched }));
        let expect = record.map_or(Expect::Absent, |record| Expect::Version(record.version));
        let write = store.put_record(NAMESPACE, application, value, expect);
        if shared.deadline(write).await? {
            return Ok(());
        }
        // Another process of the program was faster.
    }
}
