//! Rows of the ledger: how they are kept, found by id, inserted.

use jiff::Timestamp;
use punctual_backend::{BackendResult, codec};
use punctual_core::id::RunId;
use punctual_core::run::{Run, RunKind, RunState};
use punctual_core::store::StoreError;
use redis::Value;

use crate::backend::Redis;
use crate::script;
use crate::value;

/// The most rows that one request reads or inserts.
pub(crate) const BATCH: usize = 500;

/// The id as it is kept: sorted by its bytes as by its number.
pub(crate) fn key(id: RunId) -> [u8; 16] {
    id.0.to_be_bytes()
}

/// Reads [`key`] back.
pub(crate) fn read_key(bytes: &[u8]) -> Option<RunId> {
    Some(RunId(u128::from_be_bytes(bytes.try_into().ok()?)))
}

/// What no two rows share: job key, kind, nominal time and attempt.
pub(crate) fn occurrence(run: &Run) -> Vec<u8> {
    let kind = match run.kind {
        RunKind::Scheduled => b's',
        RunKind::Manual => b'm',
        _ => b'?',
    };
    let mut key = Vec::with_capacity(21);
    key.extend_from_slice(&run.job_key.0.to_be_bytes());
    key.push(kind);
    key.extend_from_slice(&run.scheduled_at.as_microsecond().to_be_bytes());
    key.extend_from_slice(&run.attempt.to_be_bytes());
    key
}

/// What a row is ordered by in the set of its state: the end of its lease, or its own.
pub(crate) fn score(run: &Run) -> i64 {
    let time = match run.state() {
        RunState::Pending => None,
        RunState::Running => run.lease_until,
        _ => run.finished_at,
    };
    time.map_or(0, Timestamp::as_microsecond)
}

/// A row with the end of its lease, which is kept apart so that a renewal is cheap. `None` where there is no row.
pub(crate) fn read_row(row: Value, lease: Value) -> BackendResult<Option<Result<Run, String>>> {
    let (Some(row), lease) = (value::text(row)?, value::text(lease)?) else {
        return Ok(None);
    };
    let run = codec::read_run(&row).map(|mut run| {
        let lease = lease.and_then(|lease| value::parse_number(&lease));
        if run.state() == RunState::Running
            && let Some(Ok(lease)) = lease.map(Timestamp::from_microsecond)
        {
            run.lease_until = Some(lease);
        }
        run
    });
    Ok(Some(run))
}

/// Rows that can be read; the others are a newer program's.
pub(crate) fn readable(rows: impl IntoIterator<Item = Result<Run, String>>) -> Vec<Run> {
    rows.into_iter()
        .filter_map(|run| {
            run.inspect_err(|error| tracing::warn!(%error, "a row of the ledger cannot be read"))
                .ok()
        })
        .collect()
}

impl Redis {
    /// The rows with these ids, each with what it is if it makes sense; those that are missing are left out.
    pub(crate) async fn find_rows(&self, ids: &[RunId]) -> BackendResult<Vec<Result<Run, String>>> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH) {
            let mut pipeline = redis::pipe();
            pipeline.atomic().cmd("HMGET").arg(self.key("runs"));
            for &id in ids {
                pipeline.arg(&key(id)[..]);
            }
            pipeline.cmd("ZMSCORE").arg(self.key("leases"));
            for &id in ids {
                pipeline.arg(&key(id)[..]);
            }
            let mut answers = self.connections.read(&pipeline).await?.into_iter();
            let mut next = || answers.next().map_or(Ok(Vec::new()), value::array);
            for (row, lease) in next()?.into_iter().zip(next()?) {
                found.extend(read_row(row, lease)?);
            }
        }
        Ok(found)
    }

    pub(crate) async fn read_rows(&self, ids: &[RunId]) -> BackendResult<Vec<Run>> {
        let found = self.find_rows(ids).await?.into_iter();
        let rows = found.collect::<Result<_, String>>();
        Ok(rows.map_err(|error| {
            StoreError::failed(format!("a row of the ledger cannot be read: {error}"))
        })?)
    }

    pub(crate) async fn put_rows(&self, rows: &[Run]) -> BackendResult<u64> {
        let mut inserted = 0;
        for rows in rows.chunks(BATCH) {
            let answer = self
                .tell(&script::INSERT_ROWS, |command| {
                    for run in rows {
                        command
                            .arg(&key(run.id)[..])
                            .arg(codec::write_run(run))
                            .arg(run.state().as_str())
                            .arg(occurrence(run))
                            .arg(score(run))
                            .arg(run.job_id.as_str());
                    }
                })
                .await?;
            inserted += value::number(answer)? as u64;
        }
        Ok(inserted)
    }
}
