//! Questions, answered by a connection of their own so that a long list holds up no claim.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use punctual_core::clock::{Clock, earlier};
use punctual_core::id::{JobId, RunId};
use punctual_core::job::{Job, StoredJob, UnreadableJob};
use punctual_core::run::{Run, RunState};
use punctual_core::store::{
    ClaimFilter, JobOrder, JobQuery, LogEntry, Page, Record, Retention, RunQuery, StoreError,
};
use punctual_core::zones::Zones;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use super::claim;
use super::error::Result;
use super::parked::Parked;
use super::rows::{self, Head};
use super::runs::readable;
use super::session::read_definition;
use super::sql::{self, Statements};
use super::thread::Owner;

/// How many rows are looked at between two looks at the limit.
const LIST_CHUNK: usize = 256;

/// The reader's side of the store.
pub(super) struct Reader {
    pub(super) db: Connection,
    pub(super) sql: Arc<Statements>,
    pub(super) prefix: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) zones: Zones,
    pub(super) parked: Arc<Parked>,
}

impl Owner for Reader {
    /// A transaction sees what was there at its first question. Whoever asks later, after a change that was acknowledged,
    /// is to see that change.
    const BATCH: usize = 1;

    fn db(&self) -> &Connection {
        &self.db
    }

    fn mark(&self) -> usize {
        0
    }

    fn undone(&mut self, _: usize) {}

    fn committed(&mut self) {}
}

impl Reader {
    pub(super) fn next_due(&self, filter: &ClaimFilter) -> Result<Option<Timestamp>> {
        claim::next_due(
            &self.db,
            &self.sql,
            filter,
            &self.parked,
            self.clock.monotonic(),
        )
    }

    pub(super) fn get(&self, id: &JobId) -> Result<Option<StoredJob>> {
        let mut query = self.db.prepare_cached(&self.sql.job_with_text)?;
        let found = query
            .query_row([id.as_str()], |row| Ok(self.stored_job(row)))
            .optional()?;
        Ok(found.flatten())
    }

    /// A job from the columns `head!()` and its definition.
    fn stored_job(&self, row: &Row<'_>) -> Option<StoredJob> {
        let head = rows::job_head(row)?;
        let text: String = row.get(14).unwrap_or_default();
        let error = match head {
            Head::Broken(broken) => broken.error,
            Head::Read(head) => match read_definition(&head.id, &text, &self.zones) {
                Ok(definition) => {
                    return Some(StoredJob::Job(Job {
                        definition,
                        state: head.state,
                    }));
                }
                Err(error) => return Some(unreadable(head.id, error, text)),
            },
        };
        let id = JobId::new(row.get::<_, String>(1).ok()?).ok()?;
        Some(unreadable(id, error, text))
    }

    pub(super) fn list(&self, query: &JobQuery) -> Result<Page<StoredJob>> {
        let (mut time, mut id) = match query
            .cursor
            .as_deref()
            .map(JobOrder::parse_cursor)
            .transpose()?
        {
            Some((time, id)) => (time, id.as_str().to_owned()),
            None => (i64::MIN, String::new()),
        };
        let text = match query.order {
            JobOrder::NextRun => &self.sql.list_by_next_run,
            JobOrder::Id => &self.sql.list_by_id,
        };
        let words = query.text.as_ref().map(|text| text.to_lowercase());
        let mut statement = self.db.prepare_cached(text)?;
        let mut items = Vec::new();
        let mut cursors = Vec::new();
        let is_full = |found: usize| query.limit > 0 && found > query.limit;
        loop {
            let mut rows = statement.query(params![time, id, LIST_CHUNK as i64])?;
            let mut count = 0;
            while let Some(row) = rows.next()? {
                count += 1;
                time = match query.order {
                    JobOrder::NextRun => row.get(18)?,
                    JobOrder::Id => 0,
                };
                id = row.get(1).unwrap_or_else(|_| char::MAX.to_string());
                if !may_match(query, words.as_deref(), row) {
                    continue;
                }
                let Some(job) = self.stored_job(row).filter(|job| query.matches(job)) else {
                    continue;
                };
                cursors.push(JobOrder::cursor(&(time, job.id().clone())));
                items.push(job);
                if is_full(items.len()) {
                    break;
                }
            }
            if count < LIST_CHUNK || is_full(items.len()) {
                break;
            }
        }
        let more = is_full(items.len());
        if more {
            items.truncate(query.limit);
        }
        Ok(Page {
            next_cursor: more.then(|| cursors.swap_remove(query.limit - 1)),
            items,
        })
    }

    fn run_where(&self, text: &str, id: RunId) -> Result<Option<Run>> {
        let mut query = self.db.prepare_cached(text)?;
        let run = query
            .query_row([rows::run_key(id)], |row| Ok(rows::run(row)))
            .optional()?;
        run.transpose()
            .map_err(|error| StoreError::failed(format!("run {id}: {error}")).into())
    }

    pub(super) fn run(&self, id: RunId) -> Result<Option<Run>> {
        self.run_where(&self.sql.run_by_id, id)
    }

    pub(super) fn runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        let before = query.parse_cursor()?;
        let key = before.map_or([0xff; 16], rows::run_key);
        let (from, until) = (query.from, query.until);
        let text = sql::runs_page(
            &self.prefix,
            query.job_id.is_some(),
            query.state,
            from.is_some(),
            until.is_some(),
        );
        let limit = match query.limit {
            0 => -1,
            limit => limit as i64 + 1,
        };
        let mut statement = self.db.prepare_cached(&text)?;
        // A statement takes only the parameters that it names.
        let micros = |time: Timestamp| time.as_microsecond();
        let named: [(usize, &dyn rusqlite::ToSql); 5] = [
            (1, &query.job_id.as_ref().map(JobId::as_str)),
            (2, &key),
            (3, &from.map(micros)),
            (4, &until.map(micros)),
            (5, &limit),
        ];
        for (at, value) in named {
            if statement.parameter_name(at).is_some() {
                statement.raw_bind_parameter(at, value)?;
            }
        }
        let mut runs = Vec::new();
        let mut rows = statement.raw_query();
        let mut last = None;
        let mut more = false;
        while let Some(row) = rows.next()? {
            if query.limit > 0 && runs.len() == query.limit {
                more = true;
                break;
            }
            let run = rows::run(row);
            last = run.as_ref().ok().map(|run| run.id).or(last);
            runs.push(run);
        }
        Ok(Page {
            items: readable(runs),
            next_cursor: last.filter(|_| more).map(|id| id.to_string()),
        })
    }

    pub(super) fn counts(&self, since: Timestamp) -> Result<BTreeMap<RunState, u64>> {
        let mut counts = BTreeMap::new();
        let mut add = |row: &Row<'_>| -> rusqlite::Result<()> {
            let state: String = row.get(0)?;
            if let Some(state) = RunState::parse(&state) {
                *counts.entry(state).or_default() += row.get::<_, i64>(1)? as u64;
            }
            Ok(())
        };
        let mut live = self.db.prepare_cached(&self.sql.count_live)?;
        let mut rows = live.query(())?;
        while let Some(row) = rows.next()? {
            add(row)?;
        }
        let mut over = self.db.prepare_cached(&self.sql.count_over)?;
        let mut rows = over.query([since.as_microsecond()])?;
        while let Some(row) = rows.next()? {
            add(row)?;
        }
        Ok(counts)
    }

    /// The jobs after `after` that have more rows than `rows_max`, of the next `count` jobs; and the last of these.
    pub(super) fn crowded(
        &self,
        after: &str,
        rows_max: u64,
        count: usize,
    ) -> Result<(Vec<String>, Option<String>)> {
        let mut query = self.db.prepare_cached(&self.sql.jobs_with_rows)?;
        let mut rows = query.query(params![after, count as i64])?;
        let mut crowded = Vec::new();
        let mut seen = 0;
        let mut last = None;
        while let Some(row) = rows.next()? {
            seen += 1;
            let id: String = row.get(0)?;
            if row.get::<_, i64>(1)? as u64 > rows_max {
                crowded.push(id.clone());
            }
            last = Some(id);
        }
        Ok((crowded, last.filter(|_| seen == count)))
    }

    pub(super) fn oldest_kept(&self, retention: Retention) -> i64 {
        earlier(self.clock.now(), retention.age).as_microsecond()
    }

    pub(super) fn record(&self, namespace: &str, key: &str) -> Result<Option<Record>> {
        let mut query = self.db.prepare_cached(&self.sql.record)?;
        let found = query
            .query_row([namespace, key], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        found
            .map(|(text, version)| record(key.to_owned(), &text, version))
            .transpose()
    }

    pub(super) fn records(&self, namespace: &str) -> Result<Vec<Record>> {
        let mut query = self.db.prepare_cached(&self.sql.records)?;
        let mut rows = query.query([namespace])?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            records.push(record(row.get(0)?, &row.get::<_, String>(1)?, row.get(2)?)?);
        }
        Ok(records)
    }

    pub(super) fn read_log(&self, log: &str, after: u64, limit: usize) -> Result<Vec<LogEntry>> {
        let mut query = self.db.prepare_cached(&self.sql.log_read)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let mut rows = query.query(params![log, after, limit])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let at = Timestamp::from_microsecond(row.get(1)?).unwrap_or(Timestamp::MIN);
            entries.push(LogEntry {
                position: row.get::<_, i64>(0)? as u64,
                at,
                value: json(&row.get::<_, String>(2)?)?,
            });
        }
        Ok(entries)
    }
}

fn unreadable(id: JobId, error: String, stored: String) -> StoredJob {
    StoredJob::Unreadable(UnreadableJob { id, error, stored })
}

/// A cheap look at the columns, so that jobs which do not match are not read: it lets through all that do.
fn may_match(query: &JobQuery, words: Option<&str>, row: &Row<'_>) -> bool {
    let text = |at: usize| {
        row.get_ref(at)
            .ok()
            .and_then(|cell| cell.as_str().ok())
            .unwrap_or("")
    };
    if let Some(words) = words
        && ![1, 15, 16]
            .iter()
            .any(|&at| text(at).to_lowercase().contains(words))
    {
        return false;
    }
    if let Some(paused) = query.paused
        && paused == text(7).is_empty()
    {
        return false;
    }
    if query
        .task
        .as_ref()
        .is_some_and(|task| task.as_str() != text(15))
    {
        return false;
    }
    query.tags.is_empty() || {
        let tags: Vec<String> = serde_json::from_str(text(17)).unwrap_or_default();
        query.tags.iter().all(|tag| tags.contains(tag))
    }
}

fn record(key: String, text: &str, version: i64) -> Result<Record> {
    Ok(Record {
        value: json(text)?,
        key,
        version: version as u64,
    })
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        StoreError::failed(format!("a stored document is no JSON: {error}")).into()
    })
}
