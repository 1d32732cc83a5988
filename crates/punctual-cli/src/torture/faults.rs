//! What is done to the nodes, at random moments from a seed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::nodes::Cluster;
use crate::exit::{Failure, Outcome};

/// One thing that may be done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    Stop,
    Restart,
    Outage,
}

impl Fault {
    const ALL: [(&'static str, Self); 4] = [
        ("kill", Self::Kill),
        ("stop", Self::Stop),
        ("restart-node", Self::Restart),
        ("outage", Self::Outage),
    ];

    /// Reads a list such as `kill,stop`; `none` is an empty one.
    ///
    /// # Errors
    ///
    /// The word that is no fault, and those that are.
    pub(crate) fn list(text: &str) -> Outcome<Vec<Self>> {
        if text == "none" {
            return Ok(Vec::new());
        }
        text.split(',')
            .map(|word| {
                let known = Self::ALL.iter().find(|(known, _)| *known == word.trim());
                known.map(|&(_, fault)| fault).ok_or_else(|| {
                    Failure::usage(format!(
                        "--faults: {word:?} is not one of kill, stop, restart-node, outage; or write none"
                    ))
                })
            })
            .collect()
    }
}

/// The longest that a node is frozen: for a lease, and this.
pub(crate) const FROZEN_BEYOND_LEASE: Duration = Duration::from_secs(3);

/// Does faults until `stop` says so, and waits for the last of them. At least one node is always left alone, where there
/// is more than one, but for an outage.
pub(crate) async fn run(
    cluster: Arc<Cluster>,
    faults: Vec<Fault>,
    lease: Duration,
    seed: u64,
    mut stop: watch::Receiver<bool>,
) -> Outcome {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut going: JoinSet<Outcome> = JoinSet::new();
    while !faults.is_empty() {
        let pause = Duration::from_millis(rng.u64(300..2500));
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = going.join_next() => ended.map_err(Failure::plain)??,
            () = sleep(pause) => {
                let fault = faults[rng.usize(..faults.len())];
                let healthy = cluster.healthy();
                if fault == Fault::Outage && rng.u8(0..4) == 0 && healthy.len() == cluster.len() {
                    let down = Duration::from_millis(rng.u64(500..4000));
                    cluster.counts.outages.fetch_add(1, Ordering::SeqCst);
                    for slot in healthy {
                        cluster.reserve(slot);
                        let cluster = Arc::clone(&cluster);
                        going.spawn(async move { cluster.kill(slot, down).await });
                    }
                } else if fault != Fault::Outage && healthy.len() >= cluster.len().min(2) && !healthy.is_empty() {
                    let slot = healthy[rng.usize(..healthy.len())];
                    let down = Duration::from_millis(rng.u64(100..2000));
                    let beyond = Duration::from_millis(rng.u64(500..FROZEN_BEYOND_LEASE.as_millis() as u64));
                    let never_thawed = faults.contains(&Fault::Kill) && rng.u8(0..3) == 0;
                    let cluster = Arc::clone(&cluster);
                    cluster.reserve(slot);
                    going.spawn(async move {
                        match fault {
                            Fault::Kill | Fault::Outage => cluster.kill(slot, down).await,
                            Fault::Stop if never_thawed => {
                                cluster.freeze_and_kill(slot, lease + beyond, down).await
                            }
                            Fault::Stop => cluster.freeze(slot, lease + beyond).await,
                            Fault::Restart => cluster.restart(slot).await,
                        }
                    });
                }
            }
        }
    }
    while let Some(ended) = going.join_next().await {
        ended.map_err(Failure::plain)??;
    }
    Ok(())
}
