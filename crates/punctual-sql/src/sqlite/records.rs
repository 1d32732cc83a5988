//! Writing the small documents and logs beside the jobs.

use punctual_core::store::{Expect, PAUSED_KEY, SCHEDULER_NAMESPACE};
use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use super::error::Result;
use super::session::Session;

impl Session {
    pub(super) fn put_record(
        &mut self,
        namespace: &str,
        key: &str,
        value: Option<&Value>,
        expect: Expect,
    ) -> Result<bool> {
        let mut query = self.db.prepare_cached(&self.sql.record)?;
        let version: Option<i64> = query
            .query_row([namespace, key], |row| row.get(1))
            .optional()?;
        drop(query);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => version.is_none(),
            Expect::Version(expected) => {
                version == i64::try_from(expected).ok() && version.is_some()
            }
        };
        if !holds {
            return Ok(false);
        }
        if let Some(value) = value {
            let next = version.unwrap_or(0) + 1;
            let mut put = self.db.prepare_cached(&self.sql.record_put)?;
            put.execute(params![namespace, key, value.to_string(), next])?;
        } else {
            let mut delete = self.db.prepare_cached(&self.sql.record_delete)?;
            delete.execute([namespace, key])?;
        }
        // The scheduler asks anew what is due: now there may be something again.
        self.earlier |= namespace == SCHEDULER_NAMESPACE && key == PAUSED_KEY;
        Ok(true)
    }

    pub(super) fn append_log(&self, log: &str, value: &Value) -> Result<u64> {
        let mut query = self.db.prepare_cached(&self.sql.log_last)?;
        let last: Option<i64> = query.query_row([log], |row| row.get(0))?;
        let position = last.unwrap_or(0) + 1;
        let mut append = self.db.prepare_cached(&self.sql.log_append)?;
        append.execute(params![
            log,
            position,
            self.now().as_microsecond(),
            value.to_string()
        ])?;
        Ok(position as u64)
    }

    /// Forgets at most `rows_max` rows that ended by `oldest`.
    pub(super) fn prune_old(&self, oldest: i64, rows_max: usize) -> Result<u64> {
        let mut delete = self.db.prepare_cached(&self.sql.prune_old)?;
        Ok(delete.execute([oldest, rows_max as i64])? as u64)
    }

    /// Forgets at most `rows_max` rows of a job beyond the newest `keep` that are over.
    pub(super) fn prune_job(&self, job: &str, keep: u64, rows_max: usize) -> Result<u64> {
        let mut delete = self.db.prepare_cached(&self.sql.prune_of_job)?;
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        Ok(delete.execute(params![job, keep, rows_max as i64])? as u64)
    }
}
