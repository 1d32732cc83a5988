//! Moving jobs and their ledger from one job store to another.
//!
//! The source is paused first, and stays so: two clusters that both had the jobs would run them twice. The target is
//! paused until all is there. What an interrupted move has brought is left alone when it is asked for again; a job of the
//! target's own with the same id is a reason to refuse. In the end the source is read once more: where anything changed
//! meanwhile, the move fails.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use punctual_core::id::{JobId, JobKey};
use punctual_core::job::StoredJob;
use punctual_core::run::RunState;
use punctual_core::scheduler::NodeRecord;
use punctual_core::store::{
    Expect, JobOrder, JobQuery, JobStore, MovedJob, NODES_NAMESPACE, PAUSED_KEY, Record, RunQuery,
    SCHEDULER_NAMESPACE, StoreError,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Where a move leaves its marks.
const NAMESPACE: &str = "migration";
/// The record by which a store is known again.
const STORE_KEY: &str = "store";
/// The record in a source that says where it is moved to.
const TARGET_KEY: &str = "target";
/// How many ids an error names.
const IDS_NAMED: usize = 10;
/// How many jobs are moved at a time.
const JOBS: usize = 200;
/// How many rows of the ledger are moved at a time.
const ROWS: usize = 1000;

/// How a move is made.
#[derive(Clone, Debug, Default)]
pub struct MigrateOptions {
    /// Pause the source even though schedulers work on it now. Without it a live source is refused.
    pub pause_live_source: bool,
    /// Further namespaces of records to move, such as the tokens of a server.
    pub namespaces: Vec<String>,
}

/// What a move has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Jobs in the source.
    pub jobs: u64,
    /// Of these, how many were moved just now; the others were in the target already, or cannot be read.
    pub jobs_moved: u64,
    /// Jobs that cannot be read; they stay in the source.
    pub unreadable: Vec<JobId>,
    /// Rows of the ledger in the source that are over.
    pub rows: u64,
    /// Of these, how many were moved just now; the others were in the target already.
    pub rows_moved: u64,
    /// Records moved.
    pub records_moved: u64,
}

/// Why a move was not made, or not to its end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// Schedulers work on the source.
    #[error("schedulers work on the source (nodes {}); stop them, or have it paused for them", .nodes.join(", "))]
    LiveSource {
        /// Their nodes.
        nodes: Vec<String>,
    },
    /// The source has neither jobs nor a ledger; perhaps they are elsewhere, or under another prefix.
    #[error(
        "the source has neither jobs nor a ledger; is it the right address, and the right prefix?"
    )]
    EmptySource,
    /// Both are the same store, by whatever address.
    #[error("source and target are the same store")]
    SameStore,
    /// The source is paused because it is moved, or was moved, to another target.
    #[error(
        "the source was moved to another store, or half of it; resume its scheduler first if that is to be undone"
    )]
    MovedElsewhere,
    /// Jobs of the target have ids of the source's.
    #[error(
        "the target has jobs with the same ids ({}{}); remove them there, or rename them, and begin anew",
        .ids.join(", "), if *.more { ", …" } else { "" }
    )]
    Occupied {
        /// Some of the ids.
        ids: Vec<String>,
        /// Whether there are more.
        more: bool,
    },
    /// The source is paused, and runs that began before go on. Ask again a little later.
    #[error("{runs} runs still go on in the source")]
    StillRunning {
        /// How many.
        runs: usize,
    },
    /// The source is not as it was when the move began: it was resumed, or its jobs were changed.
    #[error(
        "the source went on after the move began, so what the target has is out of date; remove the target's jobs, and \
         begin anew"
    )]
    SourceWentOn,
    /// This source was moved to this target before, to the end.
    #[error("this source was moved here already, to the end")]
    Done,
    /// The source failed.
    #[error("source: {0}")]
    Source(StoreError),
    /// The target failed.
    #[error("target: {0}")]
    Target(StoreError),
}

/// What the target remembers of a move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Mark {
    /// The record that pauses the source, as it was then.
    source_pause: (serde_json::Value, u64),
    /// Whether the target is to stay paused: somebody had paused the source, or the target, before.
    stay_paused: bool,
    is_done: bool,
}

fn source(error: StoreError) -> MigrateError {
    MigrateError::Source(error)
}

fn target(error: StoreError) -> MigrateError {
    MigrateError::Target(error)
}

/// Moves everything from one store to another. `progress` is told after every batch how far it is.
///
/// # Errors
///
/// See [`MigrateError`]; whatever it is, nothing was lost, and asking again goes on where this stopped. The source stays
/// paused, except where [`MigrateError::LiveSource`] was the answer.
pub async fn migrate(
    from: &dyn JobStore,
    to: &dyn JobStore,
    options: &MigrateOptions,
    mut progress: impl FnMut(&Migrated),
) -> Result<Migrated, MigrateError> {
    refuse_empty(from).await?;
    let id = store_id(from).await.map_err(source)?;
    let target_id = store_id(to).await.map_err(target)?;
    if id == target_id {
        return Err(MigrateError::SameStore);
    }
    if to.record(NAMESPACE, &id).await.map_err(target)?.is_none() {
        // The first attempt: a refusal is to change nothing.
        refuse_occupied(from, to).await?;
    }
    let (pause, was_paused) = pause_source(from, &target_id, options).await?;
    let mut mark = begin(from, to, &id, &pause, was_paused).await?;
    await_runs(from).await?;

    let mut done = Migrated::default();
    let floor = from.fence_floor().await.map_err(source)?;
    to.raise_fence_floor(floor).await.map_err(target)?;
    let seen = move_jobs(from, Some(to), &mut done, &mut progress).await?;
    move_rows(from, to, &mut done, &mut progress).await?;
    for namespace in &options.namespaces {
        done.records_moved += move_records(from, to, namespace).await?;
    }
    let now = from
        .record(SCHEDULER_NAMESPACE, PAUSED_KEY)
        .await
        .map_err(source)?;
    let seen_again = move_jobs(from, None, &mut Migrated::default(), &mut |_| ()).await?;
    if now.as_ref() != Some(&pause) || seen != seen_again {
        return Err(MigrateError::SourceWentOn);
    }
    // First the mark: whoever asks once more must not bring back what was removed meanwhile.
    mark.is_done = true;
    to.put_record(NAMESPACE, &id, Some(json!(mark)), Expect::Any)
        .await
        .map_err(target)?;
    let_go(to, &mark).await?;
    progress(&done);
    Ok(done)
}

/// Opening makes tables where there are none, so a wrong prefix looks like an empty store.
async fn refuse_empty(from: &dyn JobStore) -> Result<(), MigrateError> {
    let jobs = JobQuery {
        limit: 1,
        ..JobQuery::default()
    };
    let rows = RunQuery {
        limit: 1,
        ..RunQuery::default()
    };
    let is_empty = from.list(&jobs).await.map_err(source)?.items.is_empty()
        && from.runs(&rows).await.map_err(source)?.items.is_empty();
    if is_empty {
        return Err(MigrateError::EmptySource);
    }
    Ok(())
}

/// What a store says about being paused, if it is.
async fn pause_of(store: &dyn JobStore) -> Result<Option<Record>, StoreError> {
    let record = store.record(SCHEDULER_NAMESPACE, PAUSED_KEY).await?;
    Ok(record.filter(|record| record.value["paused"] == true))
}

fn is_by_a_move(pause: &Record) -> bool {
    pause.value["by"] == NAMESPACE
}

/// Lets no run start in the source any more. Returns the record that says so, and whether somebody else had said so before.
async fn pause_source(
    from: &dyn JobStore,
    target_id: &str,
    options: &MigrateOptions,
) -> Result<(Record, bool), MigrateError> {
    if let Some(pause) = pause_of(from).await.map_err(source)? {
        let by_a_move = is_by_a_move(&pause);
        let moved_to = from.record(NAMESPACE, TARGET_KEY).await.map_err(source)?;
        if by_a_move && moved_to.is_some_and(|record| record.value != target_id) {
            return Err(MigrateError::MovedElsewhere);
        }
        return Ok((pause, !by_a_move));
    }
    let now = from.now().await.map_err(source)?;
    let nodes = from.records(NODES_NAMESPACE).await.map_err(source)?;
    let live: Vec<String> = nodes
        .into_iter()
        .filter(|record| NodeRecord::deserialize(&record.value).is_ok_and(|node| node.is_live(now)))
        .map(|record| record.key)
        .collect();
    if !live.is_empty() && !options.pause_live_source {
        return Err(MigrateError::LiveSource { nodes: live });
    }
    from.put_record(NAMESPACE, TARGET_KEY, Some(json!(target_id)), Expect::Any)
        .await
        .map_err(source)?;
    let value = json!({ "paused": true, "at": now, "by": NAMESPACE });
    from.put_record(SCHEDULER_NAMESPACE, PAUSED_KEY, Some(value), Expect::Any)
        .await
        .map_err(source)?;
    let pause = pause_of(from).await.map_err(source)?;
    Ok((pause.ok_or(MigrateError::SourceWentOn)?, false))
}

/// A name for a store that it keeps.
async fn store_id(store: &dyn JobStore) -> Result<String, StoreError> {
    let fresh = json!(JobId::random().as_str());
    store
        .put_record(NAMESPACE, STORE_KEY, Some(fresh), Expect::Absent)
        .await?;
    let record = store.record(NAMESPACE, STORE_KEY).await?;
    record
        .and_then(|record| record.value.as_str().map(str::to_owned))
        .ok_or_else(|| StoreError::failed("it does not keep what is written"))
}

/// Marks the target, and pauses it until all is there.
async fn begin(
    from: &dyn JobStore,
    to: &dyn JobStore,
    id: &str,
    pause: &Record,
    was_paused: bool,
) -> Result<Mark, MigrateError> {
    let source_pause = (pause.value.clone(), pause.version);
    let known = to.record(NAMESPACE, id).await.map_err(target)?;
    let known: Option<Mark> = known
        .map(|record| serde_json::from_value(record.value))
        .transpose()
        .map_err(|error| target(StoreError::failed(format!("its mark: {error}"))))?;
    let of_this_pause = known
        .as_ref()
        .filter(|mark| mark.source_pause == source_pause);
    if let Some(mark) = of_this_pause {
        if mark.is_done {
            let_go(to, mark).await?;
            return Err(MigrateError::Done);
        }
        pause_target(to).await?;
        return Ok(mark.clone());
    }
    if let Some(mark) = known
        && let Err(occupied) = refuse_occupied(from, to).await
    {
        // What a move before this pause has brought is out of date.
        return Err(match occupied {
            MigrateError::Occupied { .. } if !mark.is_done => MigrateError::SourceWentOn,
            other => other,
        });
    }
    let target_pause = pause_of(to).await.map_err(target)?;
    let mark = Mark {
        source_pause,
        stay_paused: was_paused || target_pause.is_some_and(|pause| !is_by_a_move(&pause)),
        is_done: false,
    };
    to.put_record(NAMESPACE, id, Some(json!(mark)), Expect::Any)
        .await
        .map_err(target)?;
    pause_target(to).await?;
    Ok(mark)
}

async fn pause_target(to: &dyn JobStore) -> Result<(), MigrateError> {
    if pause_of(to).await.map_err(target)?.is_none() {
        let value = json!({ "paused": true, "by": NAMESPACE });
        to.put_record(SCHEDULER_NAMESPACE, PAUSED_KEY, Some(value), Expect::Any)
            .await
            .map_err(target)?;
    }
    Ok(())
}

/// Lets the target run its jobs, unless somebody wants it paused.
async fn let_go(to: &dyn JobStore, mark: &Mark) -> Result<(), MigrateError> {
    let pause = pause_of(to).await.map_err(target)?;
    if !mark.stay_paused && pause.as_ref().is_some_and(is_by_a_move) {
        to.put_record(SCHEDULER_NAMESPACE, PAUSED_KEY, None, Expect::Any)
            .await
            .map_err(target)?;
    }
    Ok(())
}

/// Whether the target has jobs of its own with ids of the source's.
async fn refuse_occupied(from: &dyn JobStore, to: &dyn JobStore) -> Result<(), MigrateError> {
    let mut there = BTreeSet::new();
    let mut query = JobQuery {
        order: JobOrder::Id,
        limit: JOBS,
        ..JobQuery::default()
    };
    loop {
        let page = to.list(&query).await.map_err(target)?;
        there.extend(page.items.iter().map(|job| job.id().clone()));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    let mut ids = Vec::new();
    while !there.is_empty() && ids.len() <= IDS_NAMED {
        let page = from.list(&query).await.map_err(source)?;
        let taken = page.items.iter().map(StoredJob::id);
        ids.extend(taken.filter(|id| there.contains(*id)).map(JobId::to_string));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    occupied(ids)
}

fn occupied(mut ids: Vec<String>) -> Result<(), MigrateError> {
    if ids.is_empty() {
        return Ok(());
    }
    let more = ids.len() > IDS_NAMED;
    ids.truncate(IDS_NAMED);
    Err(MigrateError::Occupied { ids, more })
}

/// Runs of owners that live would report to the source. Those of the dead move, and are found dead in the target.
async fn await_runs(from: &dyn JobStore) -> Result<(), MigrateError> {
    let query = RunQuery {
        state: Some(RunState::Running),
        ..RunQuery::default()
    };
    let now = from.now().await.map_err(source)?;
    let running = from.runs(&query).await.map_err(source)?.items;
    let mut living = 0;
    for run in &running {
        let is_held = run.lease_until.is_some_and(|until| until > now);
        living += usize::from(is_held);
    }
    if living > 0 {
        return Err(MigrateError::StillRunning { runs: living });
    }
    Ok(())
}

/// Goes through all jobs, and moves them where there is a target. Returns what changes when any of them does.
async fn move_jobs(
    from: &dyn JobStore,
    to: Option<&dyn JobStore>,
    done: &mut Migrated,
    progress: &mut impl FnMut(&Migrated),
) -> Result<u64, MigrateError> {
    let mut seen = DefaultHasher::new();
    let mut query = JobQuery {
        order: JobOrder::Id,
        limit: JOBS,
        ..JobQuery::default()
    };
    loop {
        let page = from.list(&query).await.map_err(source)?;
        let mut moved = Vec::new();
        for stored in page.items {
            done.jobs += 1;
            match stored {
                StoredJob::Unreadable(job) => {
                    (&job.id, &job.stored).hash(&mut seen);
                    done.unreadable.push(job.id);
                }
                StoredJob::Job(job) => {
                    (job.id(), job.state.key, job.state.seq, job.state.revision).hash(&mut seen);
                    let live = if job.state.live == 0 || to.is_none() {
                        Vec::new()
                    } else {
                        live_runs(from, job.id()).await?
                    };
                    moved.push(MovedJob { job, live });
                }
            }
        }
        if let Some(to) = to {
            let lives: Vec<_> = moved
                .iter()
                .map(|moved| (moved.job.id().clone(), moved.job.state.key))
                .collect();
            let answers = to.import_jobs(moved).await.map_err(target)?;
            let mut taken = Vec::new();
            for ((id, key), is_moved) in lives.into_iter().zip(answers) {
                done.jobs_moved += u64::from(is_moved);
                if !is_moved && !is_life(to, &id, key).await? {
                    taken.push(id.to_string());
                }
            }
            occupied(taken)?;
            progress(done);
        }
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return Ok(seen.finish());
        }
    }
}

/// Whether the target's job is what an earlier attempt has brought.
async fn is_life(to: &dyn JobStore, id: &JobId, key: JobKey) -> Result<bool, MigrateError> {
    let found = to.get(id).await.map_err(target)?;
    Ok(matches!(found, Some(StoredJob::Job(job)) if job.state.key == key))
}

async fn live_runs(
    from: &dyn JobStore,
    id: &JobId,
) -> Result<Vec<punctual_core::run::Run>, MigrateError> {
    let mut live = Vec::new();
    for state in [RunState::Pending, RunState::Running] {
        let query = RunQuery {
            job_id: Some(id.clone()),
            state: Some(state),
            ..RunQuery::default()
        };
        live.extend(from.runs(&query).await.map_err(source)?.items);
    }
    Ok(live)
}

async fn move_rows(
    from: &dyn JobStore,
    to: &dyn JobStore,
    done: &mut Migrated,
    progress: &mut impl FnMut(&Migrated),
) -> Result<(), MigrateError> {
    let mut query = RunQuery {
        limit: ROWS,
        ..RunQuery::default()
    };
    loop {
        let mut page = from.runs(&query).await.map_err(source)?;
        page.items.retain(|run| run.state().is_final());
        done.rows += page.items.len() as u64;
        done.rows_moved += to.import_rows(page.items).await.map_err(target)?;
        progress(done);
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return Ok(());
        }
    }
}

async fn move_records(
    from: &dyn JobStore,
    to: &dyn JobStore,
    namespace: &str,
) -> Result<u64, MigrateError> {
    let mut moved = 0;
    for record in from.records(namespace).await.map_err(source)? {
        let put = to
            .put_record(namespace, &record.key, Some(record.value), Expect::Absent)
            .await
            .map_err(target)?;
        moved += u64::from(put);
    }
    Ok(moved)
}
