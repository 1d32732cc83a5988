//! Questions about runs, and their leases.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use punctual_backend::{BackendResult, codec};
use punctual_core::id::{Fence, JobId, NodeId, RunId};
use punctual_core::run::{Run, RunState};
use punctual_core::store::{Renewed, RunQuery};

use crate::backend::Redis;
use crate::error::senseless;
use crate::rows::{self, BATCH, readable};
use crate::script;
use crate::value;

impl Redis {
    pub(crate) async fn read_runs(
        &self,
        query: &RunQuery,
        before: Option<RunId>,
        limit: usize,
    ) -> BackendResult<Vec<Run>> {
        let mut found = Vec::new();
        let mut before = before;
        // Where more is asked than an index answers, most rows may be of no interest.
        let is_narrow = query.from.is_some() || query.until.is_some();
        let chunk = if is_narrow { BATCH } else { limit.min(BATCH) };
        while found.len() < limit {
            let ids = self.run_ids(query, before, chunk).await?;
            let is_last = ids.len() < chunk;
            before = ids.last().copied();
            let mut runs = readable(self.find_rows(&ids).await?);
            runs.retain(|run| query.matches(run));
            found.extend(runs);
            if is_last {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Ids of rows of the job or the state that is asked for, newest first.
    async fn run_ids(
        &self,
        query: &RunQuery,
        before: Option<RunId>,
        limit: usize,
    ) -> BackendResult<Vec<RunId>> {
        if let Some(job) = &query.job_id {
            return self.run_ids_of(job, before, limit).await;
        }
        let states = match &query.state {
            Some(state) => std::slice::from_ref(state),
            None => RunState::ALL,
        };
        let mut newest = b"+".to_vec();
        if let Some(before) = before {
            newest = [&b"("[..], &rows::key(before)].concat();
        }
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for state in states {
            if *state == RunState::Running {
                // Ordered by their leases. They are few beside those that are over.
                pipeline
                    .cmd("ZRANGE")
                    .arg(self.key("leases"))
                    .arg(0)
                    .arg(-1);
                continue;
            }
            pipeline
                .cmd("ZREVRANGEBYLEX")
                .arg(self.key(&format!("runs:{state}")))
                .arg(&newest)
                .arg("-")
                .arg("LIMIT")
                .arg(0)
                .arg(limit);
        }
        let mut ids = BTreeSet::new();
        for answer in self.connections.read(&pipeline).await? {
            for id in value::array(answer)? {
                ids.extend(value::bytes(id)?.and_then(|id| rows::read_key(&id)));
            }
        }
        let ids = ids.into_iter().rev();
        let ids = ids.filter(|id| before.is_none_or(|before| *id < before));
        Ok(ids.take(limit).collect())
    }

    async fn run_ids_of(
        &self,
        job: &JobId,
        before: Option<RunId>,
        limit: usize,
    ) -> BackendResult<Vec<RunId>> {
        let newest = match before {
            Some(before) => [b"(", job.as_str().as_bytes(), b"\0", &rows::key(before)].concat(),
            None => format!("({job}\u{1}").into_bytes(),
        };
        let mut command = redis::cmd("ZREVRANGEBYLEX");
        command
            .arg(self.key("of_job"))
            .arg(newest)
            .arg(format!("[{job}\0"))
            .arg("LIMIT")
            .arg(0)
            .arg(limit);
        self.ids_of_members(&command).await
    }

    /// The ids of rows behind members of the set of rows by job.
    pub(crate) async fn ids_of_members(&self, command: &redis::Cmd) -> BackendResult<Vec<RunId>> {
        let repeat = crate::connection::Repeat::Once;
        let answer = self.connections.command(command, repeat).await?;
        let members = value::array(answer)?.into_iter().map(|member| {
            let member = value::bytes(member)?.unwrap_or_default();
            let id = member.last_chunk::<16>().map(|id| &id[..]);
            id.and_then(rows::read_key)
                .ok_or_else(|| senseless("an entry of the ledger of a job"))
        });
        members.collect()
    }

    pub(crate) async fn read_owned(&self, node: NodeId) -> BackendResult<Vec<Run>> {
        let mut running = redis::cmd("ZRANGE");
        running.arg(self.key("leases")).arg(0).arg(-1);
        let running = self.ids_of_members(&running).await?;
        let mut owned = Vec::new();
        for runs in running.chunks(BATCH) {
            let answer = self
                .ask(&script::OWNED, |command| {
                    command.arg(node.to_string());
                    for &run in runs {
                        command.arg(&rows::key(run)[..]);
                    }
                })
                .await?;
            let [rows, leases] = value::parts(answer)?;
            for (row, lease) in value::array(rows)?.into_iter().zip(value::array(leases)?) {
                owned.extend(rows::read_row(row, lease)?);
            }
        }
        let mut owned = readable(owned);
        owned.retain(|run| run.node == Some(node) && run.state() == RunState::Running);
        owned.sort_unstable_by_key(|run| run.id);
        Ok(owned)
    }

    pub(crate) async fn read_expired(
        &self,
        node: NodeId,
        limit: usize,
    ) -> BackendResult<Vec<(RunId, JobId)>> {
        let now = self.given_now();
        let answer = self
            .ask(&script::EXPIRED, |command| {
                command.arg(now).arg(node.to_string()).arg(limit);
            })
            .await?;
        let rows = value::texts(answer)?.into_iter().flatten();
        let rows = readable(rows.map(|row| codec::read_run(&row)));
        Ok(rows.into_iter().map(|run| (run.id, run.job_id)).collect())
    }

    pub(crate) async fn renew_leases(
        &self,
        lease: Duration,
        runs: &[(RunId, Fence)],
    ) -> BackendResult<Vec<Renewed>> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.given_now();
        let answer = self
            .ask(&script::RENEW, |command| {
                command.arg(now).arg(lease.as_micros() as u64);
                for &(id, fence) in runs {
                    command.arg(&rows::key(id)[..]).arg(fence.0);
                }
            })
            .await?;
        let answers = value::array(answer)?.into_iter().map(|answer| {
            Ok(match value::number(answer)? {
                0 => Renewed::Lost,
                1 => Renewed::Kept,
                _ => Renewed::CancelRequested,
            })
        });
        answers.collect()
    }

    pub(crate) async fn note_superseded(&self, runs: &[RunId], at: Timestamp) -> BackendResult<()> {
        self.ask(&script::SUPERSEDE, |command| {
            command.arg(at.as_microsecond());
            for &run in runs {
                command.arg(&rows::key(run)[..]);
            }
        })
        .await?;
        Ok(())
    }

    pub(crate) async fn count_runs(
        &self,
        since: Timestamp,
    ) -> BackendResult<BTreeMap<RunState, u64>> {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for state in RunState::ALL {
            match state {
                RunState::Pending => pipeline.cmd("ZCARD").arg(self.key("runs:pending")),
                RunState::Running => pipeline.cmd("ZCARD").arg(self.key("leases")),
                _ => pipeline
                    .cmd("ZCOUNT")
                    .arg(self.key(&format!("ended:{state}")))
                    .arg(since.as_microsecond())
                    .arg("+inf"),
            };
        }
        let answers = self.connections.read(&pipeline).await?;
        let counts = RunState::ALL
            .iter()
            .zip(answers)
            .map(|(&state, count)| Ok((state, value::number(count)? as u64)));
        let mut counts = counts.collect::<BackendResult<BTreeMap<_, _>>>()?;
        counts.retain(|_, count| *count > 0);
        Ok(counts)
    }
}
