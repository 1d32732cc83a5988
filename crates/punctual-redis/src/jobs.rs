//! Jobs: what is due, what lies under an id, lists, and the one conditional write.

use std::collections::HashMap;

use jiff::Timestamp;
use punctual_backend::{
    After, Awaited, BackendResult, Body, Due, Fate, Listed, Snapshot, Version, Write, codec,
    listed_at,
};
use punctual_core::id::{JobId, RunId};
use punctual_core::run::Run;
use punctual_core::store::{JobOrder, StoreError};
use redis::{Cmd, Value};

use crate::backend::{Redis, Unit};
use crate::error::senseless;
use crate::keys::class;
use crate::rows::{self, read_row};
use crate::script;
use crate::state::{self, Head, LAST, Stored};
use crate::value;

/// The most ids that one script reads.
const READ_BATCH: usize = 500;
/// The most changes and rows that one script writes: some ten milliseconds.
const WRITE_BATCH: usize = 2000;

impl Redis {
    pub(crate) async fn read_due(
        &self,
        now: Timestamp,
        due: Due<'_>,
    ) -> BackendResult<Vec<Snapshot>> {
        let answer = self
            .ask(&script::DUE, |command| {
                command.arg(now.as_microsecond()).arg(due.limit);
                match due.after {
                    Some((wake_at, id)) => {
                        command.arg(wake_at.as_microsecond()).arg(id.as_str());
                    }
                    None => {
                        command.arg("").arg("");
                    }
                }
                step_over(command, due.except);
                for task in due.tasks {
                    command.arg(class(due.executor.as_str(), task.as_str()));
                }
            })
            .await?;
        snapshots(answer)
    }

    pub(crate) async fn read_jobs(&self, ids: &[JobId]) -> BackendResult<Vec<Snapshot>> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(READ_BATCH) {
            let answer = self
                .ask(&script::JOBS, |command| {
                    for id in ids {
                        command.arg(id.as_str());
                    }
                })
                .await?;
            found.extend(snapshots(answer)?);
        }
        Ok(found)
    }

    pub(crate) async fn read_job(&self, id: &JobId) -> BackendResult<Option<Listed>> {
        let found = self.read_jobs(std::slice::from_ref(id)).await?.pop();
        Ok(found
            .filter(|snapshot| !matches!(snapshot.body, Body::Nothing { .. }))
            .map(|snapshot| Listed {
                id: snapshot.id,
                at: match &snapshot.body {
                    Body::Job { state, .. } => listed_at(state),
                    Body::Nothing { .. } | Body::Damaged(_) => i64::MAX,
                },
                body: snapshot.body,
            }))
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

    pub(crate) async fn write(
        &self,
        unit: &Unit,
        writes: &[Write],
        announce: bool,
    ) -> BackendResult<Vec<Fate>> {
        let mut fates = Vec::with_capacity(writes.len());
        let mut rest = writes;
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest));
            rest = after;
            let answer = self
                .tell(&script::COMMIT, |command| {
                    let channel = if announce { self.channel.as_str() } else { "" };
                    let floor = unit.floor.map(|floor| floor.0.to_string());
                    command
                        .arg(u8::from(unit.is_claim))
                        .arg(channel)
                        .arg(floor.unwrap_or_default())
                        .arg(batch.len());
                    for write in batch {
                        push_write(command, write);
                    }
                })
                .await?;
            let answer = value::bytes(answer)?.unwrap_or_default();
            if answer.len() != batch.len() {
                return Err(senseless("not one fate for each change"));
            }
            for fate in answer {
                fates.push(match fate {
                    b'W' => Fate::Written,
                    b'S' => Fate::Stale,
                    b'C' => Fate::Contradiction,
                    _ => return Err(senseless("an unknown fate")),
                });
            }
        }
        Ok(fates)
    }
}

/// How many changes of these one script writes.
fn batch_len(writes: &[Write]) -> usize {
    let mut size = 0;
    let fits = writes.iter().take_while(|write| {
        size += 1 + write.insert.len() + write.update.len();
        size <= WRITE_BATCH
    });
    fits.count().max(1)
}

fn step_over(command: &mut Cmd, ids: &[JobId]) {
    command.arg(ids.len());
    for id in ids {
        command.arg(id.as_str());
    }
}

fn push_write(command: &mut Cmd, write: &Write) {
    let version = state::next_version(write.expected);
    let expected = write.expected.map(|version| version.0.to_string());
    command
        .arg(write.id.as_str())
        .arg(expected.unwrap_or_default());
    let live: Vec<u8> = write
        .live
        .iter()
        .flat_map(|run| rows::key(run.id))
        .collect();
    let micros = |wake_at: Timestamp| wake_at.as_microsecond();
    match &write.after {
        After::Job {
            state: job,
            definition,
            document,
            is_new,
        } => {
            let listed = state::place(listed_at(job));
            let head = Head {
                version,
                wake_at: job.wake_at.map(micros),
                listed: Some(&listed),
                flag: state::flag(job),
                class: &class(definition.executor.as_str(), definition.task.as_str()),
                live: &live,
            };
            command.arg("J").arg(head.write(&codec::write_state(job)));
            match head.wake_at {
                Some(wake_at) => command.arg(wake_at),
                None => command.arg("-"),
            };
            command
                .arg(&listed)
                .arg(head.class)
                .arg(if *is_new { document } else { "" })
                .arg(job.fence.0);
        }
        After::Nothing { fence } => {
            let trace = Head {
                version,
                wake_at: None,
                listed: None,
                flag: 't',
                class: "\n",
                live: &live,
            };
            let value = if live.is_empty() {
                Vec::new()
            } else {
                trace.write(&state::write_trace(*fence))
            };
            command
                .arg("N")
                .arg(value)
                .arg("-")
                .arg("-")
                .arg("")
                .arg("")
                .arg(fence.0);
        }
        After::Unread { wake_at } => {
            command
                .arg("U")
                .arg(version)
                .arg(micros(*wake_at))
                .arg("-")
                .arg("")
                .arg(live)
                .arg(0);
        }
    }
    command.arg(write.insert.len() + write.update.len());
    for run in &write.insert {
        push_row(command, "i", run);
    }
    for run in &write.update {
        push_row(command, "u", run);
    }
}

fn push_row(command: &mut Cmd, what: &str, run: &Run) {
    command
        .arg(what)
        .arg(&rows::key(run.id)[..])
        .arg(codec::write_run(run))
        .arg(run.state().as_str())
        .arg(rows::occurrence(run))
        .arg(rows::score(run));
}

/// What `snapshots` in the prelude returns.
fn snapshots(answer: Value) -> BackendResult<Vec<Snapshot>> {
    let mut parts = value::array(answer)?.into_iter();
    let mut next = || {
        parts
            .next()
            .map_or(Ok(Vec::new()), value::array)
            .map(Vec::into_iter)
    };
    let (ids, mut states, mut definitions) = (next()?, next()?, next()?);
    let (rows, leases, mut times) = (next()?, next()?, next()?);
    let mut runs = HashMap::new();
    for (row, lease) in rows.zip(leases) {
        if let Some(run) = read_row(row, lease)? {
            // One that cannot be read is missed below, where it is known by its id.
            match run {
                Ok(run) => {
                    runs.insert(run.id, run);
                }
                Err(error) => tracing::warn!(%error, "a live run cannot be read"),
            }
        }
    }
    ids.map(|id| {
        let id = value::text(id)?.unwrap_or_default();
        let id = JobId::new(&id).map_err(|error| senseless(&error.to_string()))?;
        let stored = states.next().map_or(Ok(None), value::bytes)?;
        let definition = definitions.next().map_or(Ok(None), value::text)?;
        let time = times.next().map(value::number).transpose()?;
        let Some(stored) = stored else {
            return Ok(Snapshot::nothing(id));
        };
        let Stored {
            version,
            body,
            live,
            ..
        } = state::read(&stored, definition, time);
        let live = live.into_iter().map(|run: RunId| {
            runs.remove(&run)
                .ok_or_else(|| format!("row {run} is missing or makes no sense"))
        });
        Ok(Snapshot {
            id,
            version: Some(version),
            body,
            live: live.collect(),
        })
    })
    .collect()
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
    let body = state::read(&stored, value::text(definition)?, None).body;
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
