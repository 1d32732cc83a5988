//! Signs of life, beside the loop: renewing leases, announcing the node, taking over from the dead, forgetting.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join, select};
use serde_json::json;

use super::engine::{failed, recovered};
use super::flight::stop;
use super::prepare::NodeRecord;
use super::shared::{Attached, Caller, Shared, Stop, lock};
use crate::event::EventKind;
use crate::id::{ExecutorName, RunId, TaskName};
use crate::store::{Expect, NODES_NAMESPACE, ReclaimScope, Renewed, StoreError, StoreResult};

/// The longest time between two beats: a node that dies is noticed within its lease and this.
const BEAT_MAX: Duration = Duration::from_secs(4);
/// The shortest time that a renewal has to come through.
const RENEW_DEADLINE_MIN: Duration = Duration::from_secs(1);
/// How often the ledger is pruned.
const PRUNE_EVERY: Duration = Duration::from_mins(10);
/// How often, where the store is this process's alone and its ledger a ring.
const PRUNE_ALONE_EVERY: Duration = Duration::from_hours(1);
/// How soon after it failed, or did not get through in time.
const PRUNE_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Records of nodes not seen for this many leases are removed.
const FORGET_NODES_AFTER_LEASES: u32 = 20;

/// Whether the renewals of this node succeeded for so long that all who live had the time for theirs.
#[derive(Debug, Default)]
struct Steady {
    since: Option<Duration>,
    last: Option<Duration>,
}

impl Steady {
    /// A renewal has succeeded. One that came long after the last (the machine was suspended, or the store stood still)
    /// is the first of a new series: everybody's lease may have run out, and the others may not have had their turn yet.
    fn succeeded(&mut self, now: Duration, lease: Duration) {
        if !self.is_prompt(now, lease) {
            self.since = None;
        }
        self.since.get_or_insert(now);
        self.last = Some(now);
    }

    fn failed(&mut self) {
        self.since = None;
    }

    /// To be asked after the renewal of this beat: a beat that hung while the store stood still is none of a series.
    fn holds(&self, now: Duration, lease: Duration) -> bool {
        self.is_prompt(now, lease)
            && self
                .since
                .is_some_and(|since| now.saturating_sub(since) >= lease)
    }

    /// Whether the last success is so fresh that whoever renewed at about the same time still has a lease.
    fn is_prompt(&self, now: Duration, lease: Duration) -> bool {
        self.last
            .is_some_and(|last| now.saturating_sub(last) < lease / 2)
    }
}

pub(super) struct Heartbeat {
    shared: Arc<Shared>,
    attached: Arc<Attached>,
    /// Ends with the loop that this beats for.
    life: Weak<()>,
}

impl Heartbeat {
    fn new(shared: Arc<Shared>, attached: Arc<Attached>, life: Weak<()>) -> Self {
        Self {
            shared,
            attached,
            life,
        }
    }

    /// Forgetting takes its time, and no lease may run out meanwhile: the two go on side by side.
    async fn run(self) {
        if self.attached.store.abilities().many_nodes {
            join(self.beats(), self.prunes()).await;
        } else {
            // Where no other node can see the store, nobody waits for a sign of life.
            self.prunes().await;
        }
    }

    async fn beats(&self) {
        let lease = self.shared.settings.lease;
        let mut steady = Steady::default();
        while self.is_needed() {
            match self.show_life(&steady).await {
                Ok(()) => {
                    steady.succeeded(self.shared.clock.monotonic(), lease);
                    recovered(&self.shared, &self.attached, Caller::Heartbeat);
                }
                Err(error) => {
                    steady.failed();
                    failed(&self.shared, &self.attached, Caller::Heartbeat, &error);
                    self.give_up_expired();
                }
            }
            self.wait((lease / 3).min(BEAT_MAX)).await;
        }
    }

    async fn prunes(&self) {
        let every = if self.attached.store.abilities().many_nodes {
            PRUNE_EVERY
        } else {
            PRUNE_ALONE_EVERY
        };
        while self.is_needed() {
            let retention = self.shared.settings.retention;
            let pruned = self
                .shared
                .deadline(self.attached.store.prune(retention))
                .await;
            let wait = match pruned {
                Ok(_) => every,
                Err(error) => {
                    let job_store = &self.attached.alias;
                    tracing::warn!(%job_store, %error, "the ledger was not pruned to the end; going on later");
                    PRUNE_AGAIN_AFTER
                }
            };
            self.wait(wait).await;
        }
    }

    /// Waits, but no longer than the loop lives.
    async fn wait(&self, duration: Duration) {
        let ended = self.attached.ended.listen();
        if self.is_needed() {
            select(ended, self.shared.runtime.sleep(duration)).await;
        }
    }

    fn is_needed(&self) -> bool {
        self.life.strong_count() > 0 && self.attached.live.load(Ordering::SeqCst)
    }

    async fn show_life(&self, steady: &Steady) -> StoreResult<()> {
        let lease = self.shared.settings.lease;
        self.renew(lease).await?;
        announce(&self.shared, &self.attached).await?;
        // A store that was away let everybody's lease run out; the living need a lease's time to renew theirs.
        let scope = if steady.holds(self.shared.clock.monotonic(), lease) {
            ReclaimScope::Expired
        } else {
            ReclaimScope::ProvenDead
        };
        reclaim(&self.shared, &self.attached, scope).await
    }

    async fn renew(&self, lease: Duration) -> StoreResult<()> {
        let mine: Vec<RunId> = lock(&self.attached.running).keys().copied().collect();
        let mine: Vec<_> = mine
            .into_iter()
            .filter_map(|id| self.attached.lease_token(id))
            .collect();
        if mine.is_empty() {
            return Ok(());
        }
        let asked_at = self.shared.clock.monotonic();
        // An answer that takes longer than a short lease must not keep its runs going.
        let deadline = (lease / 2)
            .max(RENEW_DEADLINE_MIN)
            .min(self.shared.settings.store_deadline);
        let renewed = self
            .shared
            .deadline_of(deadline, self.attached.store.renew(lease, &mine))
            .await?;
        for (&(id, _), renewed) in mine.iter().zip(renewed) {
            match renewed {
                Renewed::Lost => {
                    stop(&self.shared, &self.attached, id, Stop::Lost);
                }
                Renewed::Kept | Renewed::CancelRequested => {
                    if let Some(flight) = lock(&self.attached.running).get(&id) {
                        flight.lease.renew(asked_at + lease);
                    }
                }
            }
            if renewed == Renewed::CancelRequested {
                stop(&self.shared, &self.attached, id, Stop::Requested);
            }
        }
        Ok(())
    }

    /// Stops working on runs that another node may have taken by now.
    fn give_up_expired(&self) {
        let now = self.shared.clock.monotonic();
        let expired: Vec<RunId> = lock(&self.attached.running)
            .iter()
            .filter(|(_, flight)| flight.lease.is_over(now))
            .map(|(&id, _)| id)
            .collect();
        for id in expired {
            stop(&self.shared, &self.attached, id, Stop::Lost);
        }
    }
}

/// Beats until the loop ends; a panic (a fault of the store, or ours) is followed by more beats.
pub(super) async fn supervise(shared: Arc<Shared>, attached: Arc<Attached>, life: Weak<()>) {
    loop {
        let beats = Heartbeat::new(Arc::clone(&shared), Arc::clone(&attached), life.clone());
        if AssertUnwindSafe(beats.run()).catch_unwind().await.is_ok() {
            return;
        }
        failed(
            &shared,
            &attached,
            Caller::Heartbeat,
            &StoreError::failed("the heartbeat of the job store panicked"),
        );
        shared.runtime.sleep(Duration::from_secs(1)).await;
    }
}

/// Tells the other nodes what this one can do, and forgets nodes that have long been silent.
pub(super) async fn announce(shared: &Shared, attached: &Attached) -> StoreResult<()> {
    let store = &attached.store;
    let lease = shared.settings.lease;
    let now = shared.deadline(store.now()).await?;
    let record = NodeRecord {
        tasks: shared.tasks().iter().map(TaskName::to_string).collect(),
        executors: shared
            .executor_names()
            .iter()
            .map(ExecutorName::to_string)
            .collect(),
        seen_at: now,
        started_at: shared.started_at,
        lease_ms: lease.as_millis() as u64,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let key = shared.node.to_string();
    let value = json!(record);
    shared
        .deadline(store.put_record(NODES_NAMESPACE, &key, Some(value), Expect::Any))
        .await?;
    for other in shared.deadline(store.records(NODES_NAMESPACE)).await? {
        let silent = NodeRecord::parse(&other).is_some_and(|node| {
            crate::clock::until(node.seen_at, now) > lease * FORGET_NODES_AFTER_LEASES
        });
        if silent {
            let expect = Expect::Version(other.version);
            shared
                .deadline(store.put_record(NODES_NAMESPACE, &other.key, None, expect))
                .await?;
        }
    }
    Ok(())
}

/// Takes over runs of dead nodes.
pub(super) async fn reclaim(
    shared: &Shared,
    attached: &Attached,
    scope: ReclaimScope,
) -> StoreResult<()> {
    for lost in shared
        .deadline(attached.store.reclaim_expired(shared.node, scope))
        .await?
    {
        let (job, run, again) = (&lost.run.job_id, lost.run.id, lost.again);
        tracing::warn!(%job, %run, attempt = lost.run.attempt, again, "its node is gone; the run is lost");
        shared.emit(EventKind::JobLost, |event| {
            event.alias(&attached.alias).run(lost.run)
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_get_a_leases_time_to_renew_theirs() {
        let lease = Duration::from_secs(30);
        let at = Duration::from_secs;
        let mut steady = Steady::default();
        let beat = |steady: &mut Steady, second| {
            let held = steady.holds(at(second), lease);
            steady.succeeded(at(second), lease);
            held
        };
        let held: Vec<_> = [0, 10, 20, 30, 40]
            .map(|second| beat(&mut steady, second))
            .into();
        assert_eq!(held, [false, false, false, true, true]);
        // Suspended for an hour.
        let held: Vec<_> = [3640, 3650, 3660, 3670]
            .map(|second| beat(&mut steady, second))
            .into();
        assert_eq!(held, [false, false, false, true]);
        // The store stood still for 25 seconds: the leases of the others are over, or nearly.
        let held: Vec<_> = [3695, 3705, 3715, 3725]
            .map(|second| beat(&mut steady, second))
            .into();
        assert_eq!(held, [false, false, false, true]);
        steady.failed();
        assert!(!beat(&mut steady, 3735));
    }
}
