//! The small documents and logs beside the jobs.

use jiff::Timestamp;
use punctual_backend::{BackendError, BackendResult};
use punctual_core::store::{Expect, LogEntry, Record};
use serde_json::Value as Json;

use super::backend::{SqlBackend, Unit};
use super::cell::{Cell, Value, columns};
use super::dialect::{Conflict, Dialect, Gate, Raise, Trouble};
use super::statement::Statement;

fn json(cell: &Cell) -> Result<Json, String> {
    serde_json::from_str(cell.text()?)
        .map_err(|error| format!("a stored document is no JSON: {error}"))
}

impl<D: Dialect> SqlBackend<D> {
    pub(super) async fn read_record(
        &self,
        namespace: &str,
        key: &str,
    ) -> Result<Option<Record>, Trouble> {
        let sql = self.sql("SELECT name, value, version FROM @records WHERE namespace = ");
        let sql = sql.name(namespace).add(" AND name = ").name(key);
        let answer = self.links.ask(sql.done()).await?;
        let record = answer.rows.first().map(|row| record(row));
        record.transpose().map_err(Trouble::Failed)
    }

    pub(super) async fn read_records(&self, namespace: &str) -> Result<Vec<Record>, Trouble> {
        let sql = self.sql("SELECT name, value, version FROM @records WHERE namespace = ");
        let sql = sql.name(namespace).add(" ORDER BY name");
        let answer = self.links.ask(sql.done()).await?;
        let records: Result<_, String> = answer.rows.iter().map(|row| record(row)).collect();
        records.map_err(Trouble::Failed)
    }

    pub(super) async fn write_record(
        &self,
        namespace: &str,
        key: &str,
        value: Option<&Json>,
        expect: Expect,
        announce: bool,
    ) -> BackendResult<bool> {
        let mut unit = self.unit().await?;
        if announce {
            let gate = D::gate(&self.prefix, Gate::Pause);
            unit.link.run(Statement::script(gate)).await?;
        }
        let wrote = self.put(&mut unit, namespace, key, value, expect).await;
        let wrote = match wrote {
            // Somebody else put the first version there just now.
            Err(Trouble::Duplicate(why)) => return Err(BackendError::Again(why)),
            wrote => wrote?,
        };
        if !wrote {
            return Ok(false);
        }
        if announce {
            self.announce(&mut unit).await?;
        }
        unit.link.commit().await?;
        Ok(true)
    }

    async fn put(
        &self,
        unit: &mut Unit<D>,
        namespace: &str,
        key: &str,
        value: Option<&Json>,
        expect: Expect,
    ) -> Result<bool, Trouble> {
        let sql = self.sql("SELECT version FROM @records WHERE namespace = ");
        let sql = sql.name(namespace).add(" AND name = ").name(key);
        let answer = unit.link.run(sql.add(" FOR UPDATE").done()).await?;
        let version = answer.one().map(Cell::int).transpose();
        let version = version.map_err(Trouble::Failed)?;
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => version.is_none(),
            Expect::Version(expected) => {
                version.is_some() && version == i64::try_from(expected).ok()
            }
        };
        if !holds {
            return Ok(false);
        }
        let statement = match (value, version) {
            (None, None) => return Ok(true),
            (None, Some(_)) => {
                let sql = self.sql("DELETE FROM @records WHERE namespace = ");
                sql.name(namespace).add(" AND name = ").name(key).done()
            }
            (Some(value), Some(version)) => self
                .sql("UPDATE @records SET value = ")
                .value(Value::Text(value.to_string()))
                .add(", version = ")
                .int(version + 1)
                .add(" WHERE namespace = ")
                .name(namespace)
                .add(" AND name = ")
                .name(key)
                .done(),
            (Some(value), None) => {
                let row = vec![
                    Value::Name(namespace.to_owned()),
                    Value::Name(key.to_owned()),
                    Value::Text(value.to_string()),
                    Value::Int(1),
                ];
                let columns = columns![namespace: Name, name: Name, value: Text, version: Int];
                let table = format!("{}records", self.prefix);
                D::insert(&table, columns, vec![row], Conflict::Fail)
            }
        };
        unit.link.run(statement).await?;
        Ok(true)
    }

    /// The positions of a log are counted in a row of their own, which is held until the commit: they become visible in
    /// their order.
    pub(super) async fn write_log(&self, log: &str, value: &Json) -> Result<u64, Trouble> {
        let mut unit = self.unit().await?;
        let count = D::raise_meta(&self.prefix, &format!("log:{log}"), 1, Raise::By);
        let answer = unit.link.run(count).await?;
        let position = answer.one().map(Cell::int).transpose();
        let Some(position) = position.map_err(Trouble::Failed)? else {
            return Err(Trouble::Failed("no position for the log".to_owned()));
        };
        let row = vec![
            Value::Name(log.to_owned()),
            Value::Int(position),
            Value::Int(unit.now.as_microsecond()),
            Value::Text(value.to_string()),
        ];
        let columns = columns![log: Name, position: Int, at: Int, value: Text];
        let table = format!("{}log", self.prefix);
        let insert = D::insert(&table, columns, vec![row], Conflict::Fail);
        unit.link.run(insert).await?;
        unit.link.commit().await?;
        Ok(position as u64)
    }

    pub(super) async fn read_entries(
        &self,
        log: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, Trouble> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = self.sql("SELECT position, at, value FROM @log WHERE log = ");
        let sql = sql.name(log).add(" AND position > ").int(after);
        let sql = sql.add(" ORDER BY position LIMIT ").int(limit);
        let answer = self.links.ask_long(sql.done()).await?;
        let entry = |row: &Vec<Cell>| {
            Ok(LogEntry {
                position: row[0].int()? as u64,
                at: Timestamp::from_microsecond(row[1].int()?).unwrap_or(Timestamp::MIN),
                value: json(&row[2])?,
            })
        };
        let entries: Result<_, String> = answer.rows.iter().map(entry).collect();
        entries.map_err(Trouble::Failed)
    }
}

fn record(row: &[Cell]) -> Result<Record, String> {
    Ok(Record {
        key: row[0].text()?.to_owned(),
        value: json(&row[1])?,
        version: row[2].int()? as u64,
    })
}
