//! Jobs: what is due, what lies under an id, lists.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};

use jiff::Timestamp;
use punctual_backend::{
    Awaited, BackendError, BackendResult, Body, Due, Listed, Snapshot, Version, listed_at,
};
use punctual_core::id::{JobId, RunId};
use punctual_core::run::Run;
use punctual_core::store::{JobOrder, StoreError};
use redis::{Cmd, Value};

use crate::backend::{Redis, Unit};
use crate::connection::Repeat;
use crate::documents::Documents;
use crate::error::senseless;
use crate::keys::class;
use crate::rows;
use crate::script;
use crate::state::{self, Found, Head, LAST, Stored};
use crate::value;

/// The most ids that one request reads.
const READ_BATCH: usize = 500;
/// The fewest due jobs of a class that are read at a time.
const CHUNK_MIN: usize = 16;
/// How many entries are read at a time where most of them are to be stepped over.
const SKIP_CHUNK: usize = 5000;

impl Redis {
    /// Each of the classes is read in its own order; the first of all of them are taken.
    pub(crate) async fn read_due(
        &self,
        unit: &mut Unit,
        due: Due<'_>,
    ) -> BackendResult<Vec<Snapshot>> {
        let names = due.tasks.iter();
        let names = names.map(|task| class(due.executor.as_str(), task.as_str()));
        let names: Vec<String> = names.collect();
        let mut found: Vec<(i64, JobId, usize)> = Vec::new();
        let mut known = HashSet::new();
        // Most often each class has its share of what is due. Jobs to step over come first.
        let share = (2 * due.limit).div_ceil(names.len().max(1));
        let mut chunk = share.max(CHUNK_MIN).min(due.limit) + due.except.len();
        let mut unread: Vec<(usize, usize)> = (0..names.len()).map(|class| (class, 0)).collect();
        while !unread.is_empty() {
            let mut pipeline = redis::pipe();
            pipeline.atomic();
            for &(class, offset) in &unread {
                pipeline
                    .cmd("ZRANGEBYSCORE")
                    .arg(self.key(&format!("due:{}", names[class])));
                match due.after {
                    Some((wake_at, _)) => pipeline.arg(wake_at.as_microsecond()),
                    None => pipeline.arg("-inf"),
                }
                .arg(unit.now.as_microsecond())
                .arg("WITHSCORES")
                .arg("LIMIT")
                .arg(offset)
                .arg(chunk);
            }
            let answers = self.connections.read(&pipeline).await?;
            let mut unfinished = Vec::new();
            for ((class, offset), answer) in unread.into_iter().zip(answers) {
                let entries = read_entries(answer)?;
                if entries.len() == chunk {
                    let last = entries.last().cloned();
                    unfinished.extend(last.map(|last| (class, offset + chunk, last)));
                }
                for (time, id) in entries {
                    let is_after = due.after.is_none_or(|(wake_at, after)| {
                        (time, &id) > (wake_at.as_microsecond(), after)
                    });
                    if is_after && !due.except.contains(&id) && known.insert(id.clone()) {
                        found.push((time, id, class));
                    }
                }
            }
            found.sort_unstable();
            found.truncate(due.limit);
            // A class that was read beyond the last of these has nothing to add.
            let last = found.last().filter(|_| found.len() == due.limit);
            unfinished.retain(|(_, _, (time, id))| {
                last.is_none_or(|last| (*time, id) < (last.0, &last.1))
            });
            let rest = unfinished.into_iter();
            unread = rest.map(|(class, offset, _)| (class, offset)).collect();
            chunk = SKIP_CHUNK.max(chunk);
        }
        let ids: Vec<JobId> = found.iter().map(|(_, id, _)| id.clone()).collect();
        let times: Vec<i64> = found.iter().map(|(time, ..)| *time).collect();
        let mut snapshots = self.read_jobs(unit, &ids, &times).await?;
        let misplaced = |(time, id, class): &&(i64, JobId, usize)| match unit.seen.get(id) {
            Some(stored) => Head::read(stored).is_some_and(|(head, _)| {
                head.class != names[*class] || head.wake_at != Some(*time)
            }),
            None => true,
        };
        let misplaced: BTreeMap<&JobId, &str> = found
            .iter()
            .filter(misplaced)
            .map(|(_, id, class)| (id, names[*class].as_str()))
            .collect();
        if !misplaced.is_empty() {
            snapshots.retain(|snapshot| !misplaced.contains_key(&snapshot.id));
            // Most often somebody was faster; then everything is in its place.
            self.ask(&script::MEND, |command| {
                for (id, class) in misplaced {
                    command.arg(class).arg(id.as_str());
                }
            })
            .await?;
        }
        Ok(snapshots)
    }

    /// What lies under these ids. Definitions and live runs are read after the states: whatever changes them changes the
    /// version, so what is written after all belongs together. `times`: where they stand among those that are due, if they
    /// were found there.
    pub(crate) async fn read_jobs(
        &self,
        unit: &mut Unit,
        ids: &[JobId],
        times: &[i64],
    ) -> BackendResult<Vec<Snapshot>> {
        let mut found = Vec::with_capacity(ids.len());
        let mut runs = Vec::new();
        for ids in ids.chunks(READ_BATCH) {
            let states = self.texts_of("state", ids).await?;
            for (id, state) in ids.iter().zip(states) {
                let time = times.get(found.len()).copied();
                let stored = value::bytes(state)?.map(|stored| {
                    let read = state::read(&stored, time);
                    runs.extend(read.live.iter().copied());
                    unit.seen.insert(id.clone(), stored);
                    read
                });
                found.push((id, stored));
            }
        }
        let mut documents = self.documents_of(&found).await?;
        let mut live = self.live_rows(&runs).await?;
        let is_short = |(id, stored): &(&JobId, Option<Stored>)| {
            stored.as_ref().is_some_and(|stored| {
                let lacks_document =
                    matches!(stored.body, Found::Job(_)) && !documents.contains_key(id);
                lacks_document || stored.live.iter().any(|run| !live.contains_key(run))
            })
        };
        let short = found.iter().filter(|found| is_short(found));
        let short: Vec<JobId> = short.map(|(id, _)| (*id).clone()).collect();
        self.check_unchanged(unit, &short).await?;
        let snapshots = found.into_iter().map(|(id, stored)| {
            let Some(Stored {
                version,
                body,
                live: runs,
            }) = stored
            else {
                return Snapshot::nothing(id.clone());
            };
            let runs = runs.into_iter().map(|run: RunId| {
                live.remove(&run)
                    .ok_or_else(|| format!("row {run} is missing or makes no sense"))
            });
            Snapshot {
                id: id.clone(),
                version: Some(version),
                body: body.with(documents.remove(id)),
                live: runs.collect(),
            }
        });
        Ok(snapshots.collect())
    }

    /// What belongs to these jobs was not all there. They may have been changed between one look and the next; then
    /// everything is read anew, rather than called unreadable.
    async fn check_unchanged(&self, unit: &Unit, ids: &[JobId]) -> BackendResult<()> {
        for ids in ids.chunks(READ_BATCH) {
            let states = self.texts_of("state", ids).await?;
            for (id, state) in ids.iter().zip(states) {
                if value::bytes(state)?.as_ref() != unit.seen.get(id) {
                    let why = "a job was changed while it was read";
                    return Err(BackendError::Again(why.to_owned()));
                }
            }
        }
        Ok(())
    }

    async fn texts_of(&self, key: &str, ids: &[JobId]) -> BackendResult<Vec<Value>> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.key(key));
        for id in ids {
            command.arg(id.as_str());
        }
        value::array(self.connections.command(&command, Repeat::Once).await?)
    }

    /// The definitions of these jobs: from memory, or from the server.
    async fn documents_of<'a>(
        &self,
        found: &[(&'a JobId, Option<Stored>)],
    ) -> BackendResult<HashMap<&'a JobId, Arc<str>>> {
        let mut documents = HashMap::new();
        let mut unknown = Vec::new();
        {
            let known = self.known_documents();
            for (id, stored) in found {
                let Some(Stored {
                    body: Found::Job(state),
                    ..
                }) = stored
                else {
                    continue;
                };
                match known.get(id, state) {
                    Some(document) => {
                        documents.insert(*id, document);
                    }
                    None => unknown.push((*id, state)),
                }
            }
        }
        for unknown in unknown.chunks(READ_BATCH) {
            let ids: Vec<JobId> = unknown.iter().map(|(id, _)| (*id).clone()).collect();
            let texts = self.texts_of("definitions", &ids).await?;
            let mut known = self.known_documents();
            for (&(id, state), text) in unknown.iter().zip(texts) {
                if let Some(text) = value::text(text)? {
                    let document: Arc<str> = text.into();
                    known.put(id, state, &document);
                    documents.insert(id, document);
                }
            }
        }
        Ok(documents)
    }

    fn known_documents(&self) -> MutexGuard<'_, Documents> {
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn live_rows(&self, ids: &[RunId]) -> BackendResult<HashMap<RunId, Run>> {
        let rows = rows::readable(self.find_rows(ids).await?);
        Ok(rows.into_iter().map(|run| (run.id, run)).collect())
    }

    pub(crate) async fn read_job(&self, id: &JobId) -> BackendResult<Option<Listed>> {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for key in ["state", "definitions"] {
            pipeline.cmd("HGET").arg(self.key(key)).arg(id.as_str());
        }
        let [state, definition] = value::all(self.connections.read(&pipeline).await?)?;
        let Some(stored) = value::bytes(state)? else {
            return Ok(None);
        };
        let definition = value::text(definition)?.map(Arc::from);
        let body = state::read(&stored, None).body.with(definition);
        let at = match &body {
            Body::Nothing { .. } => return Ok(None),
            Body::Job { state, .. } => listed_at(state),
            Body::Damaged(_) => i64::MAX,
        };
        let id = id.clone();
        Ok(Some(Listed { id, at, body }))
    }

    pub(crate) async fn read_next_wake(
        &self,
        awaited: Awaited<'_>,
    ) -> BackendResult<Option<Timestamp>> {
        let answer = self
            .ask(&script::NEXT_WAKE, |command| {
                step_over(command, awaited.except);
                for executor in awaited.executors {
                    for task in awaited.tasks {
                        command.arg(class(executor.as_str(), task.as_str()));
                    }
                }
            })
            .await?;
        let Some(micros) = value::text(answer)? else {
            return Ok(None);
        };
        let micros = value::parse_number(&micros).ok_or_else(|| senseless(&micros))?;
        Ok(Some(
            Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX),
        ))
    }

    pub(crate) async fn read_list(
        &self,
        order: JobOrder,
        after: Option<&(i64, JobId)>,
        limit: usize,
    ) -> BackendResult<Vec<Listed>> {
        let (key, skip) = match order {
            JobOrder::NextRun => ("listed", LAST.len()),
            JobOrder::Id => ("ids", 0),
        };
        let start = match (order, after) {
            (_, None) => "-".to_owned(),
            (JobOrder::NextRun, Some((at, id))) => format!("({}{id}", state::place(*at)),
            (JobOrder::Id, Some((_, id))) => format!("({id}"),
        };
        // Entries that a hand left without a job are stepped over, so an answer that is short is not the end.
        let mut listed = Vec::new();
        let mut start = start.into_bytes();
        while listed.len() < limit {
            let wanted = limit - listed.len();
            let answer = self
                .ask(&script::LIST, |command| {
                    command.arg(key).arg(&start).arg(wanted).arg(skip);
                })
                .await?;
            let [members, states, definitions] = value::parts(answer)?;
            let members = value::array(members)?;
            let is_last = members.len() < wanted;
            let parts = members
                .into_iter()
                .zip(value::array(states)?)
                .zip(value::array(definitions)?);
            for ((member, state), definition) in parts {
                let member = value::bytes(member)?.unwrap_or_default();
                start = [b"(", member.as_slice()].concat();
                listed.extend(read_listed(member, skip, state, definition)?);
            }
            if is_last {
                break;
            }
        }
        Ok(listed)
    }

    pub(crate) async fn put_last(&self, id: &JobId, version: Version) -> BackendResult<()> {
        self.ask(&script::LIST_LAST, |command| {
            command.arg(id.as_str()).arg(version.0).arg(LAST);
        })
        .await?;
        Ok(())
    }
}

fn step_over(command: &mut Cmd, ids: &[JobId]) {
    command.arg(ids.len());
    for id in ids {
        command.arg(id.as_str());
    }
}

/// Ids and times by turns.
fn read_entries(answer: Value) -> BackendResult<Vec<(i64, JobId)>> {
    let parts = value::array(answer)?;
    let mut entries = Vec::with_capacity(parts.len() / 2);
    let mut parts = parts.into_iter();
    while let (Some(id), Some(time)) = (parts.next(), parts.next()) {
        let id = value::text(id)?.unwrap_or_default();
        let id = JobId::new(&id).map_err(|error| senseless(&error.to_string()))?;
        entries.push((value::number(time)?, id));
    }
    Ok(entries)
}

fn read_listed(
    member: Vec<u8>,
    skip: usize,
    state: Value,
    definition: Value,
) -> BackendResult<Option<Listed>> {
    let member = value::lossy(member);
    let (place, id) = member.split_at_checked(skip).unwrap_or_default();
    let (Some(stored), Ok(id)) = (value::bytes(state)?, JobId::new(id)) else {
        return Ok(None);
    };
    let definition = value::text(definition)?.map(Arc::from);
    let body = state::read(&stored, None).body.with(definition);
    if matches!(body, Body::Nothing { .. }) {
        return Ok(None);
    }
    let at = if skip == 0 {
        0
    } else {
        state::read_place(place)
            .ok_or_else(|| StoreError::failed(format!("{place:?} is no place in a list")))?
    };
    Ok(Some(Listed { id, at, body }))
}
