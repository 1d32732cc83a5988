//! What every verb has at hand.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use punctual_core::clock::Clock;
use punctual_core::definitions::DefinitionCache;
use punctual_core::document;
use punctual_core::id::{JobId, JobKey, RunIds};
use punctual_core::job::{Job, JobDefinition, JobState, StoredJob, UnreadableJob};
use punctual_core::plan::Moment;
use punctual_core::store::{StoreError, StoreResult};
use punctual_core::zones::Zones;

use crate::backend::{
    Backend, BackendError, BackendResult, Body, Fate, Listed, Snapshot, Version, Write,
};
use crate::changed::Changed;
use crate::draft::{Draft, Lying, Unreadable};
use crate::parked::Parked;

/// How often a unit of work is tried before the store is said to be too busy.
const TRIES: u32 = 60;
/// The longest wait between two tries.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Told apart by the life of the id and the revision.
type Definitions = DefinitionCache<(JobKey, u64)>;

/// The database, and what is known of it in this process.
#[derive(Debug)]
pub(crate) struct Shared<B> {
    pub(crate) backend: B,
    pub(crate) zones: Zones,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: RunIds,
    pub(crate) cache: Mutex<Definitions>,
    pub(crate) parked: Parked,
    pub(crate) changed: Changed,
    pub(crate) timeout: Duration,
}

fn edition(state: &JobState) -> (JobKey, u64) {
    (state.key, state.revision)
}

impl<B: Backend> Shared<B> {
    /// Makes attempts until one is not disturbed by somebody else.
    pub(crate) async fn settle<T, F>(&self, mut attempt: impl FnMut() -> F) -> StoreResult<T>
    where
        F: Future<Output = BackendResult<T>>,
    {
        let mut tries = 0;
        let began = self.clock.monotonic();
        loop {
            match self.within(attempt()).await {
                Ok(done) => return Ok(done),
                Err(BackendError::Store(error)) => return Err(error),
                Err(BackendError::Again(why)) => {
                    if self.clock.monotonic().saturating_sub(began) >= self.timeout {
                        return Err(StoreError::unavailable(why));
                    }
                    self.pause(&mut tries, &why).await?;
                }
            }
        }
    }

    /// One attempt: whoever was in the way will be gone the next time this is asked for.
    pub(crate) async fn bounded<T>(
        &self,
        attempt: impl Future<Output = BackendResult<T>>,
    ) -> StoreResult<T> {
        self.within(attempt).await.map_err(|error| match error {
            BackendError::Store(error) => error,
            BackendError::Again(why) => StoreError::unavailable(why),
        })
    }

    async fn within<T>(&self, attempt: impl Future<Output = BackendResult<T>>) -> BackendResult<T> {
        tokio::time::timeout(self.timeout, attempt)
            .await
            .unwrap_or_else(|_| {
                let message = format!("no answer within {:?}", self.timeout);
                Err(StoreError::unavailable(message).into())
            })
    }

    /// Waits a little, each time longer and never as long as others do; gives up in the end.
    pub(crate) async fn pause(&self, tries: &mut u32, why: &str) -> StoreResult<()> {
        *tries += 1;
        if *tries == TRIES {
            let message = format!("others were in the way {TRIES} times: {why}");
            return Err(StoreError::unavailable(message));
        }
        let most = Duration::from_millis(1 << (*tries).min(6)).min(PAUSE_MAX);
        tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
        Ok(())
    }

    pub(crate) fn moment(&self, now: Timestamp) -> Moment<'_> {
        Moment {
            now,
            ids: &self.ids,
        }
    }

    pub(crate) fn with_cache<T>(&self, f: impl FnOnce(&mut Definitions) -> T) -> T {
        f(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn definition(
        &self,
        id: &JobId,
        state: &JobState,
        text: &str,
        keep: bool,
    ) -> Result<Arc<JobDefinition>, String> {
        if let Some(known) = self.with_cache(|cache| cache.get(id, edition(state))) {
            return Ok(known);
        }
        let document = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let definition = document::read(id, &document, &self.zones).map(Arc::new)?;
        if keep {
            self.with_cache(|cache| cache.put(edition(state), &definition));
        }
        Ok(definition)
    }

    /// Reads what a backend returned.
    pub(crate) fn draft(&self, snapshot: Snapshot) -> Draft {
        let Snapshot {
            id,
            version,
            body,
            live,
        } = snapshot;
        let body = match body {
            Body::Nothing { fence } => Lying::Nothing { fence },
            Body::Job { state, document } => match self.definition(&id, &state, &document, true) {
                Ok(definition) => Lying::Job {
                    definition,
                    state,
                    document,
                    is_new: false,
                },
                Err(error) => Lying::Unreadable(Unreadable {
                    error,
                    stored: document,
                    revision: state.revision,
                    fence: state.fence,
                    paused: state.paused.map(|paused| *paused),
                    wake_at: state.wake_at,
                }),
            },
            Body::Damaged(damaged) => Lying::Unreadable(Unreadable {
                error: damaged.error,
                stored: damaged.stored.into(),
                revision: damaged.revision,
                fence: damaged.fence,
                paused: damaged.paused,
                wake_at: Some(damaged.wake_at),
            }),
        };
        Draft::new(id, version, body, live)
    }

    /// A job as lists show it; `None` where there is none.
    pub(crate) fn stored(&self, listed: Listed) -> Option<StoredJob> {
        let Listed { id, body, .. } = listed;
        let (error, stored) = match body {
            Body::Nothing { .. } => return None,
            Body::Job { state, document } => match self.definition(&id, &state, &document, false) {
                Ok(definition) => return Some(StoredJob::Job(Job { definition, state })),
                Err(error) => (error, document.to_string()),
            },
            Body::Damaged(damaged) => (damaged.error, damaged.stored),
        };
        Some(StoredJob::Unreadable(UnreadableJob { id, error, stored }))
    }

    /// What lies under these ids, for a unit that will write.
    pub(crate) async fn drafts(
        &self,
        unit: &mut B::Unit,
        mut ids: Vec<JobId>,
    ) -> BackendResult<Vec<Draft>> {
        ids.sort_unstable();
        ids.dedup();
        let snapshots = self.backend.jobs(unit, &ids).await?;
        debug_assert_eq!(snapshots.len(), ids.len());
        let drafts = snapshots.into_iter().map(|snapshot| self.draft(snapshot));
        Ok(drafts.collect())
    }

    /// What lies under one id.
    pub(crate) async fn one(&self, unit: &mut B::Unit, id: &JobId) -> BackendResult<Draft> {
        let mut drafts = self.drafts(unit, vec![id.clone()]).await?;
        drafts
            .pop()
            .ok_or_else(|| StoreError::failed("the database gave no answer for a job").into())
    }

    /// Writes drafts; one fate for each, in order. One that says nothing new counts as written.
    pub(crate) async fn commit(
        &self,
        unit: B::Unit,
        now: Timestamp,
        drafts: Vec<Draft>,
    ) -> BackendResult<Vec<Fate>> {
        let is_earlier = drafts.iter().any(Draft::is_earlier);
        let mut fates = vec![Fate::Written; drafts.len()];
        let mut places = Vec::with_capacity(drafts.len());
        let mut writes = Vec::with_capacity(drafts.len());
        for (place, draft) in drafts.into_iter().enumerate() {
            if let Some(write) = draft.into_write(now) {
                places.push(place);
                writes.push(write);
            }
        }
        if writes.is_empty() {
            return Ok(fates);
        }
        let written = self.backend.commit(unit, &writes, is_earlier).await?;
        debug_assert_eq!(written.len(), writes.len());
        for ((place, write), fate) in places.into_iter().zip(&writes).zip(written) {
            fates[place] = fate;
            self.note(write, fate);
        }
        if is_earlier {
            self.changed.notify();
        }
        Ok(fates)
    }

    fn note(&self, write: &Write, fate: Fate) {
        use crate::backend::After;
        match &write.after {
            _ if fate != Fate::Written => {}
            After::Job {
                state,
                definition,
                is_new: true,
                ..
            } => {
                self.parked.release(&write.id);
                self.with_cache(|cache| cache.put(edition(state), definition));
            }
            After::Nothing { .. } => self.with_cache(|cache| cache.remove(&write.id)),
            After::Job { .. } | After::Unread { .. } => {}
        }
    }

    /// Writes the drafts of a unit that means them all or none: whoever lost a race does all of it anew.
    pub(crate) async fn commit_all(
        &self,
        unit: B::Unit,
        now: Timestamp,
        drafts: Vec<Draft>,
    ) -> BackendResult<()> {
        for fate in self.commit(unit, now, drafts).await? {
            match fate {
                Fate::Written => {}
                Fate::Stale => return Err(BackendError::Again("the job was changed".to_owned())),
                Fate::Contradiction => {
                    let message =
                        "the ledger has a row for this attempt already; nothing was changed";
                    return Err(StoreError::failed(message).into());
                }
            }
        }
        Ok(())
    }

    /// Steps over a job that cannot be read, and lists it last.
    pub(crate) async fn park(&self, id: JobId, version: Option<Version>, error: &str) {
        tracing::error!(job = %id, %error, "a stored job cannot be read; it is kept, and does not run");
        if let Some(version) = version
            && let Err(error) = self.backend.list_last(&id, version).await
        {
            tracing::warn!(job = %id, ?error, "it could not be listed last");
        }
        self.parked.park(id, self.clock.monotonic());
    }
}
