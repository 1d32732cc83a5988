//! Documents and logs beside the jobs.

use jiff::Timestamp;
use punctual_backend::{BackendError, BackendResult};
use punctual_core::store::{Expect, LogEntry, Record, StoreError};
use serde_json::Value;

use crate::backend::Redis;
use crate::connection::Repeat;
use crate::script;
use crate::value;

impl Redis {
    pub(crate) async fn read_record(
        &self,
        namespace: &str,
        key: &str,
    ) -> BackendResult<Option<Record>> {
        let mut get = redis::cmd("HGET");
        get.arg(self.key(&format!("record:{namespace}"))).arg(key);
        let stored = value::text(self.connections.command(&get, Repeat::Once).await?)?;
        stored.map(|stored| record(key, &stored)).transpose()
    }

    pub(crate) async fn read_records(&self, namespace: &str) -> BackendResult<Vec<Record>> {
        let mut get = redis::cmd("HGETALL");
        get.arg(self.key(&format!("record:{namespace}")));
        let stored = value::texts(self.connections.command(&get, Repeat::Once).await?)?;
        let (pairs, _) = stored.as_chunks::<2>();
        let records = pairs.iter().map(|[key, stored]| {
            record(
                key.as_deref().unwrap_or_default(),
                stored.as_deref().unwrap_or_default(),
            )
        });
        let mut records = records.collect::<BackendResult<Vec<_>>>()?;
        records.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(records)
    }

    pub(crate) async fn write_record(
        &self,
        namespace: &str,
        key: &str,
        document: Option<&Value>,
        expect: Expect,
        announce: bool,
    ) -> BackendResult<bool> {
        let expect = match expect {
            Expect::Any => "any".to_owned(),
            Expect::Absent => "absent".to_owned(),
            Expect::Version(version) => version.to_string(),
        };
        let answer = self
            .tell(&script::PUT_RECORD, |command| {
                command
                    .arg(namespace)
                    .arg(key)
                    .arg(expect)
                    .arg(u8::from(document.is_some()))
                    .arg(document.map(Value::to_string).unwrap_or_default())
                    .arg(if announce { self.channel.as_str() } else { "" });
            })
            .await?;
        Ok(value::number(answer)? == 1)
    }

    pub(crate) async fn append(&self, log: &str, entry: &Value) -> BackendResult<u64> {
        let now = self.given_now();
        let answer = self
            .tell(&script::APPEND_LOG, |command| {
                command.arg(log).arg(now).arg(entry.to_string());
            })
            .await?;
        Ok(value::number(answer)? as u64)
    }

    pub(crate) async fn read_entries(
        &self,
        log: &str,
        after: u64,
        limit: usize,
    ) -> BackendResult<Vec<LogEntry>> {
        if limit == 0 || i64::try_from(after).is_err() {
            return Ok(Vec::new());
        }
        // The entry at an index has the position after it, and nothing is ever taken out.
        let last = after.saturating_add(limit as u64 - 1).min(i64::MAX as u64);
        let mut range = redis::cmd("LRANGE");
        range
            .arg(self.key(&format!("log:{log}")))
            .arg(after)
            .arg(last);
        let entries = value::texts(self.connections.command(&range, Repeat::Once).await?)?;
        let entries = entries.into_iter().flatten().zip(after + 1..);
        entries
            .map(|(stored, position)| {
                let (at, text) = stored.split_once(' ').unwrap_or_default();
                let at = at.parse().ok().map(Timestamp::from_microsecond);
                Ok(LogEntry {
                    position,
                    at: at.and_then(Result::ok).unwrap_or(Timestamp::MIN),
                    value: json(text)?,
                })
            })
            .collect()
    }
}

/// A document as it is kept: its version, a space, JSON.
fn record(key: &str, stored: &str) -> BackendResult<Record> {
    let (version, text) = stored.split_once(' ').unwrap_or_default();
    let version = version
        .parse()
        .map_err(|_| BackendError::Store(senseless(key)))?;
    Ok(Record {
        key: key.to_owned(),
        value: json(text)?,
        version,
    })
}

fn json(text: &str) -> BackendResult<Value> {
    Ok(serde_json::from_str(text)
        .map_err(|error| StoreError::failed(format!("a stored document is no JSON: {error}")))?)
}

fn senseless(key: &str) -> StoreError {
    StoreError::failed(format!("the stored document {key:?} has no version"))
}
