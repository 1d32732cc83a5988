//! What is due, and taking it.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use punctual_core::id::{ExecutorName, JobId, TaskName};
use punctual_core::plan::{self, Claimer};
use punctual_core::store::{
    ClaimFilter, ClaimRequest, Claimed, ClaimedJob, PAUSED_KEY, SCHEDULER_NAMESPACE,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::Result;
use super::parked::Parked;
use super::rows::{self, Head};
use super::session::{Found, Session};
use super::sql::Statements;

/// How many due jobs of one task and executor are read at a time, at least and at most.
const CHUNK: std::ops::RangeInclusive<usize> = 8..=512;

/// Whether the record that pauses all nodes says so.
pub(super) fn is_paused(db: &Connection, sql: &Statements) -> Result<bool> {
    let mut query = db.prepare_cached(&sql.record)?;
    let text: Option<String> = query
        .query_row([SCHEDULER_NAMESPACE, PAUSED_KEY], |row| row.get(0))
        .optional()?;
    let value = text.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    Ok(value.is_some_and(|value| value["paused"] == true))
}

/// Every pair of a task and an executor that the filter names.
fn classes(filter: &ClaimFilter) -> impl Iterator<Item = (&TaskName, &ExecutorName)> {
    filter
        .tasks
        .iter()
        .flat_map(|task| filter.slots.keys().map(move |executor| (task, executor)))
}

/// When the first job that the filter names has something to claim.
pub(super) fn next_due(
    db: &Connection,
    sql: &Statements,
    filter: &ClaimFilter,
    parked: &Parked,
    monotonic: std::time::Duration,
) -> Result<Option<Timestamp>> {
    if is_paused(db, sql)? {
        return Ok(None);
    }
    let mut first: Option<i64> = None;
    let mut query = db.prepare_cached(&sql.first_in_class)?;
    for (task, executor) in classes(filter) {
        let mut rows = query.query([task.as_str(), executor.as_str()])?;
        while let Some(row) = rows.next()? {
            let is_parked = !parked.is_empty()
                && row.get_ref(1)?.as_str().is_ok_and(|id| {
                    let edition = (row.get(2).unwrap_or(0), row.get(3).unwrap_or(0));
                    parked.holds(id, edition, monotonic)
                });
            if !is_parked {
                let wake_at: i64 = row.get(0)?;
                first = Some(first.map_or(wake_at, |first| first.min(wake_at)));
                break;
            }
        }
    }
    Ok(first.map(|first| Timestamp::from_microsecond(first).unwrap_or(Timestamp::MIN)))
}

/// The due jobs of one task and executor, read in order, some at a time.
struct Class<'a> {
    task: &'a TaskName,
    executor: &'a ExecutorName,
    read: VecDeque<Head>,
    /// The last one read.
    after: (i64, String),
    is_exhausted: bool,
}

/// The due jobs of all classes, earliest first, ties by id.
struct Due<'a> {
    classes: Vec<Class<'a>>,
    /// The first of each class, and those that were claimed and are due again. The number is the class; the flag says
    /// that the class has to send its next.
    first: BTreeMap<(i64, JobId), (usize, bool, Head)>,
    now: i64,
    chunk: usize,
}

impl<'a> Due<'a> {
    fn new(session: &Session, request: &'a ClaimRequest, now: Timestamp) -> Result<Self> {
        let has_slots = |executor| {
            request
                .filter
                .slots
                .get(executor)
                .is_some_and(|&slots| slots > 0)
        };
        let classes: Vec<_> = classes(&request.filter)
            .filter(|&(_, executor)| has_slots(executor))
            .map(|(task, executor)| Class {
                task,
                executor,
                read: VecDeque::new(),
                after: (i64::MIN, String::new()),
                is_exhausted: false,
            })
            .collect();
        let share = (request.limit + 1) / classes.len().max(1);
        let mut due = Self {
            first: BTreeMap::new(),
            now: now.as_microsecond(),
            chunk: share.clamp(*CHUNK.start(), *CHUNK.end()),
            classes,
        };
        for class in 0..due.classes.len() {
            due.advance(session, class)?;
        }
        Ok(due)
    }

    /// Moves the next job of a class to the first ones.
    fn advance(&mut self, session: &Session, index: usize) -> Result<()> {
        let class = &mut self.classes[index];
        while class.read.is_empty() && !class.is_exhausted {
            let mut query = session.db.prepare_cached(&session.sql.due_in_class)?;
            let mut rows = query.query(params![
                class.task.as_str(),
                class.executor.as_str(),
                self.now,
                class.after.0,
                class.after.1,
                self.chunk as i64
            ])?;
            let mut count = 0;
            while let Some(row) = rows.next()? {
                count += 1;
                // An id that is no text leaves the others of its moment for the next claim, rather than no end.
                let id = row.get(1).unwrap_or_else(|_| char::MAX.to_string());
                class.after = (row.get(12)?, id);
                let Some(head) = rows::job_head(row) else {
                    continue;
                };
                let edition = head.edition();
                if !session
                    .parked
                    .holds(head.id().as_str(), edition, session.monotonic())
                {
                    class.read.push_back(head);
                }
            }
            class.is_exhausted = count < self.chunk;
        }
        if let Some(head) = class.read.pop_front() {
            let key = (head.wake_micros(), head.id().clone());
            self.first.insert(key, (index, true, head));
        }
        Ok(())
    }

    fn pop(
        &mut self,
        session: &Session,
        free: &BTreeMap<ExecutorName, usize>,
    ) -> Result<Option<(usize, Head)>> {
        while let Some((_, (index, has_more, head))) = self.first.pop_first() {
            // Slots only become fewer, so the class is done with.
            if free
                .get(self.classes[index].executor)
                .is_none_or(|&slots| slots == 0)
            {
                continue;
            }
            if has_more {
                self.advance(session, index)?;
            }
            return Ok(Some((index, head)));
        }
        Ok(None)
    }

    /// A job that was claimed may have more that is due.
    fn put_back(&mut self, index: usize, head: Head) {
        let wake_at = head.wake_micros();
        if wake_at <= self.now {
            self.first
                .insert((wake_at, head.id().clone()), (index, false, head));
        }
    }
}

impl Session {
    /// Decides about what is due and takes runs for the node.
    pub(super) fn claim(&mut self, request: &ClaimRequest) -> Result<Claimed> {
        let now = self.now();
        let mut claimed = Claimed {
            jobs: Vec::new(),
            now,
            more: false,
        };
        if request.filter.is_empty() || is_paused(&self.db, &self.sql)? {
            return Ok(claimed);
        }
        let mut free = request.filter.slots.clone();
        let mut due = Due::new(self, request, now)?;
        while let Some((class, head)) = due.pop(self, &free)? {
            if claimed.jobs.len() == request.limit {
                claimed.more = true;
                break;
            }
            let executor = due.classes[class].executor;
            let slots = free.get(executor).copied().unwrap_or(0);
            let taken = self.claim_job(head, request, slots)?;
            let Some((job, head)) = taken else { continue };
            if let Some(free) = free.get_mut(executor) {
                *free -= job.started.len();
            }
            claimed.jobs.push(job);
            if let Some(head) = head {
                due.put_back(class, head);
            }
        }
        Ok(claimed)
    }

    /// Claims one job; steps over one that cannot be read, or whose rows contradict the ledger.
    fn claim_job(
        &mut self,
        head: Head,
        request: &ClaimRequest,
        slots: usize,
    ) -> Result<Option<(ClaimedJob, Option<Head>)>> {
        let job = match self.load(head)? {
            Found::Job(job) => job,
            Found::Unreadable(unreadable) => {
                self.park(&unreadable)?;
                return Ok(None);
            }
            Found::Nothing => return Ok(None),
        };
        let claimer = Claimer {
            node: request.node,
            lease: request.lease,
            slots,
        };
        let plan = plan::claim(job.view(), claimer, self.moment());
        if !self.insert_rows(&plan.insert)? {
            let id = job.definition.id.clone();
            tracing::error!(job = %id, "a decision contradicts the ledger; the job is left alone for now");
            self.park_edition(id, rows::edition(&job.state));
            return Ok(None);
        }
        let removed = self.apply_inserted(&job, &plan)?;
        let claimed = ClaimedJob {
            definition: std::sync::Arc::clone(&job.definition),
            started: plan.started().cloned().collect(),
            skipped: plan.skipped().cloned().collect(),
            cancelled: plan
                .update
                .iter()
                .filter(|run| run.cancel_requested)
                .map(|run| run.id)
                .collect(),
            removed,
        };
        let head = plan.state.map(|state| {
            Head::Read(rows::JobHead {
                n: job.n,
                id: job.definition.id.clone(),
                state,
            })
        });
        Ok(Some((claimed, head)))
    }
}
