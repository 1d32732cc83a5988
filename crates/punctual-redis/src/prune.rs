//! Forgetting old rows, some at a time.

use punctual_backend::{BackendResult, PruneProgress};
use punctual_core::clock::earlier;
use punctual_core::id::RunId;
use punctual_core::run::{Run, RunState};
use punctual_core::store::Retention;

use crate::backend::Redis;
use crate::connection::Repeat;
use crate::rows::{self, BATCH};
use crate::script;
use crate::value;

/// How many jobs are looked at in one go.
const JOBS: usize = 500;

impl Redis {
    pub(crate) async fn prune_some(
        &self,
        retention: Retention,
        progress: &mut PruneProgress,
    ) -> BackendResult<Option<u64>> {
        if !progress.old_rows_done {
            let oldest = earlier(self.time().await?, retention.age).as_microsecond();
            for state in RunState::ALL.iter().filter(|state| state.is_final()) {
                let ids = self.ended_by(*state, oldest).await?;
                if !ids.is_empty() {
                    return self.forget(&ids, *state).await.map(Some);
                }
            }
            progress.old_rows_done = true;
        }
        let after = progress.job_id.as_deref().unwrap_or_default();
        let answer = self
            .ask(&script::CROWDED, |command| {
                command.arg(after).arg(JOBS).arg(retention.rows_per_job);
            })
            .await?;
        let [crowded, last, count] = value::parts(answer)?;
        let Some(crowded) = value::text(crowded)? else {
            progress.job_id = value::text(last)?;
            return Ok(progress.job_id.as_ref().map(|_| 0));
        };
        let count = value::number(count)? as u64;
        let forgotten = self.thin_out(&crowded, count, retention.rows_per_job);
        let forgotten = forgotten.await?;
        if forgotten < BATCH as u64 {
            progress.job_id = Some(crowded);
        }
        Ok(Some(forgotten))
    }

    async fn ended_by(&self, state: RunState, oldest: i64) -> BackendResult<Vec<RunId>> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command
            .arg(self.key(&format!("ended:{state}")))
            .arg("-inf")
            .arg(oldest)
            .arg("LIMIT")
            .arg(0)
            .arg(BATCH);
        self.ids_of_members(&command).await
    }

    /// Forgets the rows of one job that are over, oldest first, until as many are left as are kept.
    async fn thin_out(&self, job: &str, count: u64, keep: u64) -> BackendResult<u64> {
        let mut over: Vec<Run> = Vec::new();
        let mut live = 0;
        let mut start = format!("[{job}\0").into_bytes();
        // Rows that wait or run are few, and not counted.
        loop {
            let mut command = redis::cmd("ZRANGEBYLEX");
            command
                .arg(self.key("of_job"))
                .arg(&start)
                .arg(format!("({job}\u{1}"))
                .arg("LIMIT")
                .arg(0)
                .arg(BATCH);
            let ids = self.ids_of_members(&command).await?;
            let Some(&last) = ids.last() else { break };
            start = [b"(", job.as_bytes(), b"\0", &rows::key(last)].concat();
            for run in rows::readable(self.find_rows(&ids).await?) {
                if run.state().is_final() {
                    over.push(run);
                } else {
                    live += 1;
                }
            }
            if ids.len() < BATCH || over.len() >= BATCH {
                break;
            }
        }
        over.sort_by_key(|run| (run.finished_at, run.id));
        let excess = count.saturating_sub(live).saturating_sub(keep);
        over.truncate(excess.min(BATCH as u64) as usize);
        self.delete(&over).await
    }

    /// Forgets rows of one state.
    async fn forget(&self, ids: &[RunId], state: RunState) -> BackendResult<u64> {
        let found = rows::readable(self.find_rows(ids).await?);
        let deleted = self.delete(&found).await?;
        if found.len() < ids.len() {
            // Of what cannot be read only the entries are forgotten by which it is found here.
            let mut command = redis::cmd("ZREM");
            command.arg(self.key(&format!("ended:{state}")));
            for &id in ids {
                command.arg(&rows::key(id)[..]);
            }
            self.connections.command(&command, Repeat::Once).await?;
        }
        Ok(deleted)
    }

    async fn delete(&self, runs: &[Run]) -> BackendResult<u64> {
        if runs.is_empty() {
            return Ok(0);
        }
        let answer = self
            .tell(&script::DELETE_ROWS, |command| {
                for run in runs {
                    command
                        .arg(&rows::key(run.id)[..])
                        .arg(run.state().as_str())
                        .arg(rows::occurrence(run))
                        .arg(run.job_id.as_str());
                }
            })
            .await?;
        Ok(value::number(answer)? as u64)
    }
}
