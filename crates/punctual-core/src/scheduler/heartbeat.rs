//! Signs of life, beside the loop: renewing leases, announcing the node, taking over from the dead, forgetting.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select;
use serde_json::json;

use super::engine::{failed, stop};
use super::prepare::NodeRecord;
use super::shared::{Attached, Shared, Stop, lock};
use crate::event::EventKind;
use crate::id::{ExecutorName, RunId, TaskName};
use crate::store::{Expect, NODES_NAMESPACE, ReclaimScope, Renewed, StoreError, StoreResult};

/// How often the ledger is pruned.
const PRUNE_EVERY: Duration = Duration::from_mins(10);
/// How often, where the store is this process's alone and its ledger a ring.
const PRUNE_ALONE_EVERY: Duration = Duration::from_hours(1);
/// Records of nodes not seen for this many leases are removed.
const FORGET_NODES_AFTER_LEASES: u32 = 20;

pub(super) struct Heartbeat {
    shared: Arc<Shared>,
    attached: Arc<Attached>,
    /// Ends with the loop that this beats for.
    life: Weak<()>,
    /// Since when every renewal succeeded, by the monotonic clock.
    steady_since: Option<Duration>,
    pruned_at: Option<Duration>,
}

impl Heartbeat {
    fn new(shared: Arc<Shared>, attached: Arc<Attached>, life: Weak<()>) -> Self {
        Self {
            shared,
            attached,
            life,
            steady_since: None,
            pruned_at: None,
        }
    }

    async fn run(mut self) {
        while self.is_needed() {
            let began = self.shared.clock.monotonic();
            match self.beat().await {
                Ok(()) => {
                    self.steady_since.get_or_insert(began);
                }
                Err(error) => {
                    self.steady_since = None;
                    failed(&self.shared, &self.attached, &error);
                    self.give_up_expired();
                }
            }
            let ended = self.attached.ended.listen();
            if !self.is_needed() {
                return;
            }
            let alone = !self.attached.store.abilities().many_nodes;
            let wait = if alone {
                PRUNE_ALONE_EVERY
            } else {
                self.shared.settings.lease / 3
            };
            select(ended, self.shared.runtime.sleep(wait)).await;
        }
    }

    fn is_needed(&self) -> bool {
        self.life.strong_count() > 0 && self.attached.live.load(Ordering::SeqCst)
    }

    async fn beat(&mut self) -> StoreResult<()> {
        // Where no other node can see the store, nobody waits for a sign of life.
        if self.attached.store.abilities().many_nodes {
            self.show_life().await?;
        }
        let now = self.shared.clock.monotonic();
        if self
            .pruned_at
            .is_none_or(|at| now.saturating_sub(at) >= PRUNE_EVERY)
        {
            self.shared
                .deadline(self.attached.store.prune(self.shared.settings.retention))
                .await?;
            self.pruned_at = Some(now);
        }
        Ok(())
    }

    async fn show_life(&mut self) -> StoreResult<()> {
        let lease = self.shared.settings.lease;
        self.renew(lease).await?;
        announce(&self.shared, &self.attached).await?;
        let now = self.shared.clock.monotonic();
        // A store that was away let everybody's lease run out; the living need a lease's time to renew theirs.
        let steady = self
            .steady_since
            .is_some_and(|since| now.saturating_sub(since) >= lease);
        let scope = if steady {
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
        let renewed = self
            .shared
            .deadline(self.attached.store.renew(lease, &mine))
            .await?;
        for (&(id, _), renewed) in mine.iter().zip(renewed) {
            match renewed {
                Renewed::Lost => {
                    stop(&self.shared, &self.attached, id, Stop::Lost);
                }
                Renewed::Kept | Renewed::CancelRequested => {
                    if let Some(flight) = lock(&self.attached.running).get_mut(&id) {
                        flight.lease_end = asked_at + lease;
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
            .filter(|(_, flight)| flight.lease_end <= now)
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
        tasks: shared.tasks.iter().map(TaskName::to_string).collect(),
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
