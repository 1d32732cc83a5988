//! Whatever is asked, in whatever order: every store answers as the one in memory does.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRng, TestRunner};
use punctual_core::clock::SimClock;
use punctual_core::id::NodeId;
use punctual_core::job::{Coalesce, Job, OnCrash, Overlap, Policy, StoredJob};
use punctual_core::memory::MemoryStore;
use punctual_core::plan::{Finish, FirstRun, JobChange, JobPatch, PauseRequest};
use punctual_core::run::{Ending, Reason, Run};
use punctual_core::store::{
    ClaimRequest, Enqueued, JobQuery, JobStore, ReclaimScope, Retention, RunQuery, Updated,
};

use crate::trial::{Trial, Verdict, change_trigger, every, filter, finish, held, job, job_id};

/// How many sequences are tried.
const SEQUENCES: u32 = 24;

/// Something to ask. Jobs are numbered; so are the runs that were claimed, counted from the latest.
#[derive(Clone, Debug)]
enum Call {
    Add {
        job: u8,
        seconds: u64,
        policy: u8,
        first: u8,
        replaces: bool,
    },
    Remove(u8),
    RemoveAll,
    Pause {
        job: u8,
        until: Option<i64>,
    },
    Resume(u8),
    Rename(u8, u64),
    Reschedule {
        job: u8,
        seconds: u64,
    },
    NextRun {
        job: u8,
        offset: i64,
    },
    Enqueue(u8),
    Claim {
        node: u64,
        slots: usize,
        limit: usize,
    },
    Finish {
        back: usize,
        ending: u8,
        retry: Option<i64>,
    },
    Renew {
        back: usize,
    },
    Reclaim {
        node: u64,
    },
    Cancel {
        back: usize,
    },
    Prune {
        seconds: u64,
    },
    Wait {
        micros: u64,
    },
}

fn call() -> impl Strategy<Value = Call> {
    let job = 0_u8..5;
    prop_oneof![
        4 => (job.clone(), 1_u64..40, any::<u8>(), any::<u8>(), any::<bool>())
            .prop_map(|(job, seconds, policy, first, replaces)| Call::Add { job, seconds, policy, first, replaces }),
        1 => job.clone().prop_map(Call::Remove),
        1 => Just(Call::RemoveAll),
        2 => (job.clone(), proptest::option::of(0_i64..60)).prop_map(|(job, until)| Call::Pause { job, until }),
        2 => job.clone().prop_map(Call::Resume),
        1 => (job.clone(), 1_u64..4).prop_map(|(job, revision)| Call::Rename(job, revision)),
        1 => (job.clone(), 1_u64..40).prop_map(|(job, seconds)| Call::Reschedule { job, seconds }),
        1 => (job.clone(), -30_i64..60).prop_map(|(job, offset)| Call::NextRun { job, offset }),
        3 => job.prop_map(Call::Enqueue),
        8 => (1_u64..4, 0_usize..6, 1_usize..8).prop_map(|(node, slots, limit)| Call::Claim { node, slots, limit }),
        6 => (0_usize..8, any::<u8>(), proptest::option::of(0_i64..30))
            .prop_map(|(back, ending, retry)| Call::Finish { back, ending, retry }),
        2 => (0_usize..8).prop_map(|back| Call::Renew { back }),
        2 => (1_u64..4).prop_map(|node| Call::Reclaim { node }),
        1 => (0_usize..8).prop_map(|back| Call::Cancel { back }),
        1 => (0_u64..100).prop_map(|seconds| Call::Prune { seconds }),
        8 => (1_u64..40_000_000).prop_map(|micros| Call::Wait { micros }),
    ]
}

/// A random sequence of calls gets from the store the same answers as from the memory store.
#[expect(clippy::unused_async, reason = "every case is")]
pub async fn answers_are_those_of_the_memory_store(trial: Trial) -> Verdict {
    let config = Config {
        cases: SEQUENCES,
        failure_persistence: None,
        ..Config::default()
    };
    // The same sequences every time: a failure is found again.
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let calls = proptest::collection::vec(call(), 1..150);
    let result = TestRunner::new_with_rng(config, rng).run(&calls, |calls| {
        async_io::block_on(async {
            let trial = trial.anew().await;
            compare(&trial, &calls).await
        })
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    Ok(())
}

async fn compare(trial: &Trial, calls: &[Call]) -> Result<(), TestCaseError> {
    let model: Arc<dyn JobStore> = Arc::new(MemoryStore::new(Arc::new(trial.clock.clone())));
    let mut theirs = Side {
        trial,
        store: Arc::clone(&trial.store),
        claimed: Vec::new(),
    };
    let mut ours = Side {
        trial,
        store: model,
        claimed: Vec::new(),
    };
    for (at, call) in calls.iter().enumerate() {
        if let Call::Wait { micros } = call {
            SimClock::advance(&trial.clock, Duration::from_micros(*micros));
        }
        let (expected, found) = (ours.perform(call).await, theirs.perform(call).await);
        prop_assert_eq!(found, expected, "the answer to call {} {:?}", at, call);
        let (expected, found) = (ours.look().await, theirs.look().await);
        prop_assert_eq!(
            found,
            expected,
            "what is stored after call {} {:?}",
            at,
            call
        );
    }
    Ok(())
}

/// One of the two stores, with the runs that were claimed from it.
struct Side<'a> {
    trial: &'a Trial,
    store: Arc<dyn JobStore>,
    claimed: Vec<Run>,
}

impl Side<'_> {
    fn claimed(&self, back: usize) -> Option<&Run> {
        self.claimed.iter().rev().nth(back)
    }

    async fn change(&self, job: u8, expected: Option<u64>, change: JobChange) -> String {
        let updated = self
            .store
            .update(&job_id(&name(job)), expected, change)
            .await;
        match updated.expect("the store works") {
            Updated::Job(job) => told(&job),
            Updated::Removed(job) => format!("removed {}", job.id()),
            other => format!("{other:?}"),
        }
    }

    async fn perform(&mut self, call: &Call) -> String {
        let (trial, store) = (self.trial, Arc::clone(&self.store));
        let soon = |offset: i64| trial.clock_plus(offset);
        match *call {
            Call::Wait { .. } => String::new(),
            Call::Add {
                job: n,
                seconds,
                policy,
                first,
                replaces,
            } => {
                let spec = job(name(n))
                    .every(seconds)
                    .policy(a_policy(policy))
                    .first_run(match first % 5 {
                        0 => FirstRun::Paused(PauseRequest::default()),
                        1 => FirstRun::At(soon(i64::from(first % 30))),
                        _ => FirstRun::ByTrigger,
                    });
                let spec = if policy % 7 == 0 {
                    spec.once(soon(seconds.cast_signed() - 10))
                } else {
                    spec
                };
                let spec = if replaces { spec.replacing() } else { spec };
                let added = store
                    .add_many(vec![trial.addition(spec)])
                    .await
                    .expect("the store works");
                let told = added
                    .into_iter()
                    .map(|added| added.map(|added| (told(&added.job), added.replaced)));
                format!("{:?}", told.collect::<Vec<_>>())
            }
            Call::Remove(n) => {
                let removed = store
                    .remove(&job_id(&name(n)))
                    .await
                    .expect("the store works");
                format!(
                    "{:?}",
                    removed.and_then(StoredJob::into_job).map(|job| told(&job))
                )
            }
            Call::RemoveAll => format!("{:?}", store.remove_all().await),
            Call::Pause { job, until } => {
                let until = until.map(soon);
                self.change(
                    job,
                    None,
                    JobChange::Pause(PauseRequest {
                        until,
                        ..PauseRequest::default()
                    }),
                )
                .await
            }
            Call::Resume(job) => self.change(job, None, JobChange::Resume).await,
            Call::Rename(job, revision) => {
                let patch = JobPatch {
                    name: Some(format!("r{revision}").into()),
                    ..JobPatch::default()
                };
                self.change(job, Some(revision), JobChange::Modify(Box::new(patch)))
                    .await
            }
            Call::Reschedule { job, seconds } => {
                let ready = trial.ready(&every(seconds * 1_000_000));
                self.change(job, None, change_trigger(ready)).await
            }
            Call::NextRun { job, offset } => {
                let patch = JobPatch {
                    next_run_time: Some(soon(offset)),
                    ..JobPatch::default()
                };
                self.change(job, None, JobChange::Modify(Box::new(patch)))
                    .await
            }
            Call::Enqueue(n) => match store
                .enqueue(&job_id(&name(n)))
                .await
                .expect("the store works")
            {
                Enqueued::Run(job, run) => format!("{} {}", told(&job), row(&run)),
                other => format!("{other:?}"),
            },
            Call::Claim { node, slots, limit } => {
                let request = ClaimRequest {
                    node: NodeId(node),
                    filter: filter(&["t"], &[("default", slots)]),
                    ..trial.request(limit)
                };
                let claimed = store.claim(request).await.expect("the store works");
                let told: Vec<_> = claimed
                    .jobs
                    .iter()
                    .map(|job| {
                        let cancelled = job.cancelled.len();
                        (
                            &job.definition.id,
                            rows(&job.started),
                            rows(&job.skipped),
                            cancelled,
                            job.removed,
                        )
                    })
                    .collect();
                let told = format!("{told:?} {}", claimed.more);
                self.claimed.extend(crate::trial::started(&claimed));
                told
            }
            Call::Finish {
                back,
                ending,
                retry,
            } => {
                let Some(run) = self.claimed(back) else {
                    return String::new();
                };
                let ending = match ending % 5 {
                    0 => None,
                    1 => Some(Ending::Failed),
                    2 => Some(Ending::Cancelled(Reason::Requested)),
                    _ => Some(Ending::Succeeded),
                };
                let report = Finish {
                    next_attempt_at: retry.map(soon),
                    ..finish(run, ending)
                };
                format!("{:?}", store.finish(vec![report]).await)
            }
            Call::Renew { back } => {
                let runs: Vec<_> = self.claimed(back).map(held).into_iter().collect();
                format!("{:?}", store.renew(Duration::from_secs(30), &runs).await)
            }
            Call::Reclaim { node } => {
                let reclaimed = store
                    .reclaim_expired(NodeId(node), ReclaimScope::Expired)
                    .await;
                let reclaimed = reclaimed.expect("the store works");
                let mut told: Vec<_> = reclaimed
                    .iter()
                    .map(|taken| (row(&taken.run), taken.again))
                    .collect();
                told.sort();
                format!("{told:?}")
            }
            Call::Cancel { back } => {
                let Some(run) = self.claimed(back) else {
                    return String::new();
                };
                let run = store.request_cancel(run.id).await.expect("the store works");
                format!("{:?}", run.as_ref().map(row))
            }
            Call::Prune { seconds } => {
                let retention = Retention {
                    age: Duration::from_secs(seconds),
                    ..Retention::default()
                };
                format!("{:?}", store.prune(retention).await)
            }
        }
    }

    /// All that can be seen from outside.
    async fn look(&self) -> String {
        let due = self.store.next_due(&self.trial.filter()).await;
        let jobs = self
            .store
            .list(&JobQuery::default())
            .await
            .expect("the store works")
            .items;
        let jobs: Vec<_> = jobs
            .into_iter()
            .filter_map(StoredJob::into_job)
            .map(|job| told(&job))
            .collect();
        let ledger = self
            .store
            .runs(&RunQuery::default())
            .await
            .expect("the store works")
            .items;
        let counts = self.store.counts(self.trial.clock_plus(-60)).await;
        format!("{due:?}\n{jobs:#?}\n{:#?}\n{counts:?}", rows(&ledger))
    }
}

fn name(job: u8) -> String {
    format!("job-{job}")
}

fn a_policy(bits: u8) -> Policy {
    Policy {
        misfire_grace_time: (bits & 1 > 0).then_some(Duration::from_secs(15)),
        coalesce: if bits & 2 > 0 {
            Coalesce::Off
        } else {
            Coalesce::Latest
        },
        max_instances: u32::from(bits >> 2 & 1) + 1,
        overlap: match bits >> 3 & 3 {
            0 => Overlap::QueueOne,
            1 => Overlap::CancelRunning,
            _ => Overlap::Skip,
        },
        on_crash: if bits & 32 > 0 {
            OnCrash::GiveUp
        } else {
            OnCrash::Rerun
        },
        ..Policy::default()
    }
}

/// A job without what is random: its key.
fn told(job: &Job) -> String {
    let state = &job.state;
    format!(
        "{} {:?} due {:?} wake {:?} cursor {} extra {:?} paused {:?} {:?} revision {} seq {} live {} fence {}",
        job.id(),
        job.definition.name(),
        state.due_at,
        state.wake_at,
        state.cursor,
        state.extra,
        state.paused,
        state.phase,
        state.revision,
        state.seq,
        state.live,
        state.fence
    )
}

/// A row without what is random: its id and key.
fn row(run: &Run) -> String {
    format!(
        "{} {} {} due {} attempt {} crashes {} of {} {} {:?} {:?} fence {} lease {:?} {:?} to {:?} cancel {} {:?} x{} late {:?}",
        run.job_id,
        run.scheduled_at,
        run.kind,
        run.due_at,
        run.attempt,
        run.crashes,
        run.instance,
        run.state(),
        run.reason,
        run.node,
        run.fence,
        run.lease_until,
        run.started_at,
        run.finished_at,
        run.cancel_requested,
        run.scheduled_until,
        run.count,
        run.superseded_at
    )
}

fn rows(runs: &[Run]) -> Vec<String> {
    let mut rows: Vec<_> = runs.iter().map(row).collect();
    rows.sort();
    rows
}
