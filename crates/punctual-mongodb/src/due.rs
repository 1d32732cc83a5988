//! What is due, and the lists of jobs.

use std::collections::BTreeSet;

use jiff::Timestamp;
use mongodb::bson::{Bson, Document, doc};
use punctual_backend::{Awaited, BackendResult, Due, Listed, Snapshot};
use punctual_core::id::{JobId, NodeId, RunId, TaskName};
use punctual_core::run::{Run, RunState};
use punctual_core::store::{JobOrder, JobQuery};

use crate::decision::Decision;
use crate::inner::{Inner, Unit};

/// The most tasks in one question: for each the server goes along an index of its own, and merges them.
const TASKS_MAX: usize = 100;
/// How often a question is asked again because of decisions that turned out to be superseded.
const ROUNDS: usize = 20;
/// How many jobs with ended leases are looked at.
const EXPIRED_MAX: usize = 10_000;

/// One value as it is, more as a choice.
fn any_of(values: Vec<&str>) -> Bson {
    match values.as_slice() {
        [value] => Bson::from(*value),
        _ => doc! {"$in": values}.into(),
    }
}

fn groups(tasks: &BTreeSet<TaskName>) -> Vec<Bson> {
    let tasks: Vec<&str> = tasks.iter().map(TaskName::as_str).collect();
    let groups = tasks.chunks(TASKS_MAX);
    groups.map(|group| any_of(group.to_vec())).collect()
}

fn leave_out(filter: &mut Document, except: &[JobId]) {
    if !except.is_empty() {
        let except: Vec<&str> = except.iter().map(JobId::as_str).collect();
        filter.insert("job", doc! {"$nin": except});
    }
}

/// What comes after a place in an order by a number and an id.
fn behind(field: &str, micros: i64, id: &str) -> Vec<Document> {
    vec![
        doc! {field: {"$gt": micros}},
        doc! {field: micros, "job": {"$gt": id}},
    ]
}

impl Inner {
    pub(crate) async fn due(&self, unit: &mut Unit, due: &Due<'_>) -> BackendResult<Vec<Snapshot>> {
        let mut found = Vec::new();
        for _ in 0..ROUNDS {
            let candidates = self.due_candidates(unit.now, due).await?;
            let count = candidates.len();
            found = self.log.verified(candidates).await?;
            if found.len() == count || count < due.limit {
                break;
            }
            // Superseded ones took the places of others. They are out of the index now.
        }
        Self::keep(unit, &found);
        Ok(found.iter().map(Decision::snapshot).collect())
    }

    async fn due_candidates(&self, now: Timestamp, due: &Due<'_>) -> BackendResult<Vec<Decision>> {
        let mut found = Vec::new();
        for task in groups(due.tasks) {
            let mut filter = doc! {
                "head": true,
                "executor": due.executor.as_str(),
                "task": task,
                "wake_at": {"$lte": now.as_microsecond()},
            };
            leave_out(&mut filter, due.except);
            if let Some((time, id)) = due.after {
                filter.insert("$or", behind("wake_at", time.as_microsecond(), id.as_str()));
            }
            let order = doc! {"wake_at": 1, "job": 1};
            found.extend(
                self.log
                    .find_all(&filter, Some(&order), Some(due.limit))
                    .await?,
            );
        }
        found.sort_by(|a, b| (a.wake_at(), &a.job).cmp(&(b.wake_at(), &b.job)));
        found.truncate(due.limit);
        Ok(found)
    }

    pub(crate) async fn next_wake(
        &self,
        awaited: &Awaited<'_>,
    ) -> BackendResult<Option<Timestamp>> {
        if self.is_paused().await? {
            return Ok(None);
        }
        let executors = any_of(awaited.executors.iter().map(|name| name.as_str()).collect());
        let mut first: Option<Decision> = None;
        for _ in 0..ROUNDS {
            let mut found = Vec::new();
            for task in groups(awaited.tasks) {
                let mut filter = doc! {
                    "head": true,
                    "executor": executors.clone(),
                    "task": task,
                    "wake_at": {"$gte": i64::MIN},
                };
                leave_out(&mut filter, awaited.except);
                let order = doc! {"wake_at": 1};
                found.extend(self.log.find_all(&filter, Some(&order), Some(1)).await?);
            }
            first = found.into_iter().min_by_key(Decision::wake_at);
            let Some(candidate) = first.clone() else {
                break;
            };
            if !self.log.verified(vec![candidate]).await?.is_empty() {
                break;
            }
        }
        Ok(first.and_then(|first| first.wake_at()))
    }

    pub(crate) async fn job(&self, id: &JobId) -> BackendResult<Option<Listed>> {
        let mut heads = self.log.heads([id]).await?;
        Ok(heads.remove(id).and_then(|head| head.listed()))
    }

    pub(crate) async fn list(
        &self,
        query: &JobQuery,
        after: Option<&(i64, JobId)>,
        limit: usize,
    ) -> BackendResult<Vec<Listed>> {
        let mut place = after.map(|(at, id)| (*at, id.as_str().to_owned()));
        let mut listed = Vec::new();
        while listed.len() < limit {
            let candidates = self.list_candidates(query, place.as_ref(), limit).await?;
            let is_last = candidates.len() < limit;
            place = candidates
                .last()
                .map(|last| (last.listed_at(), last.job.as_str().to_owned()));
            let heads = self.log.verified(candidates).await?;
            listed.extend(heads.iter().filter_map(|head| {
                let mut listed = head.listed()?;
                if query.order == JobOrder::Id {
                    listed.at = 0;
                }
                Some(listed)
            }));
            if is_last {
                break;
            }
        }
        listed.truncate(limit);
        Ok(listed)
    }

    async fn list_candidates(
        &self,
        query: &JobQuery,
        after: Option<&(i64, String)>,
        limit: usize,
    ) -> BackendResult<Vec<Decision>> {
        // A document of nothing has no place in the list.
        let mut filter = doc! {"head": true, "listed_at": {"$gte": i64::MIN}};
        if let Some(task) = &query.task {
            filter.insert("task", task.as_str());
        }
        match query.paused {
            None => {}
            Some(true) => _ = filter.insert("paused", true),
            Some(false) => _ = filter.insert("paused", doc! {"$exists": false}),
        }
        if !query.tags.is_empty() {
            filter.insert("tags", doc! {"$all": query.tags.clone()});
        }
        let by_id = query.order == JobOrder::Id;
        match after {
            None => {}
            Some((_, id)) if by_id => _ = filter.insert("job", doc! {"$gt": id}),
            Some((at, id)) => _ = filter.insert("$or", behind("listed_at", *at, id)),
        }
        let order = if by_id {
            doc! {"job": 1}
        } else {
            doc! {"listed_at": 1, "job": 1}
        };
        let mut found = self
            .log
            .find_all(&filter, Some(&order), Some(limit))
            .await?;
        if by_id {
            found.sort_by(|a, b| a.job.cmp(&b.job));
        } else {
            found.sort_by(|a, b| (a.listed_at(), &a.job).cmp(&(b.listed_at(), &b.job)));
        }
        found.truncate(limit);
        Ok(found)
    }

    /// The live runs of the jobs that a filter finds.
    pub(crate) async fn live_where(&self, filter: &Document) -> BackendResult<Vec<Run>> {
        let jobs = self.log.jobs(filter).await?;
        let heads = self.log.heads(&jobs).await?;
        Ok(heads.values().flat_map(Decision::readable).collect())
    }

    pub(crate) async fn owned_by(&self, node: NodeId) -> BackendResult<Vec<Run>> {
        let filter = doc! {"head": true, "owners": node.to_string()};
        let mut runs = self.live_where(&filter).await?;
        runs.retain(|run| run.state() == RunState::Running && run.node == Some(node));
        runs.sort_unstable_by_key(|run| run.id);
        Ok(runs)
    }

    pub(crate) async fn expired(
        &self,
        node: NodeId,
        limit: usize,
    ) -> BackendResult<Vec<(RunId, JobId)>> {
        let now = self.now().await?;
        let filter = doc! {"head": true, "lease_until": {"$lte": now.as_microsecond()}};
        let order = doc! {"lease_until": 1};
        let found = self
            .log
            .find_all(&filter, Some(&order), Some(EXPIRED_MAX))
            .await?;
        let heads = self.log.verified(found).await?;
        let expired = heads.iter().flat_map(Decision::readable).filter(|run| {
            run.state() == RunState::Running
                && run.node != Some(node)
                && run.lease_until.is_none_or(|until| until <= now)
        });
        Ok(expired
            .map(|run| (run.id, run.job_id))
            .take(limit)
            .collect())
    }
}
