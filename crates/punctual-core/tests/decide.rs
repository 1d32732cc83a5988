//! Whatever happens in whatever order, no occurrence of a job is decided twice and none is missed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;
use punctual_core::clock::{earlier, later};
use punctual_core::decide::JobView;
use punctual_core::id::{ExecutorName, Fence, JobId, NodeId, RunIds, TaskName};
use punctual_core::job::{
    Coalesce, CompiledSchedule, Job, JobArgs, JobDefinition, OnCrash, Overlap, Policy,
};
use punctual_core::plan::{
    self, Addition, Claimer, Finish, Finished, FirstRun, JobChange, Moment, OnConflict,
    PauseRequest, Plan,
};
use punctual_core::run::{Ending, Reason, Run, RunKind, RunState};
use punctual_trigger::Trigger;

const START: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z
const LEASE: Duration = Duration::from_secs(30);

/// One job and its ledger, as the plainest of stores would keep them.
struct World {
    now: Timestamp,
    ids: RunIds,
    job: Option<Job>,
    ledger: Vec<Run>,
}

impl World {
    fn new(seconds: u32, jitter: u32, policy: Policy) -> Self {
        let now = Timestamp::from_second(START).unwrap();
        let zones = TimeZoneDatabase::bundled();
        let trigger =
            serde_json::json!({ "type": "interval", "seconds": seconds, "jitter": jitter });
        let trigger = Trigger::from_json(&trigger)
            .unwrap()
            .resolve(now, "UTC", &zones)
            .unwrap();
        let definition = JobDefinition {
            id: JobId::new("job").unwrap(),
            given_name: None,
            task: TaskName::new("task").unwrap(),
            args: JobArgs::default().shared(),
            schedule: CompiledSchedule(trigger.compile(&zones).unwrap()),
            trigger,
            declared: None,
            executor: ExecutorName::default(),
            policy: policy.shared(),
            tags: Box::new([]),
            created_at: now,
            updated_at: now,
        };
        let mut world = Self {
            now,
            ids: RunIds::default(),
            job: None,
            ledger: Vec::new(),
        };
        let addition = Addition {
            definition,
            first_run: FirstRun::ByTrigger,
            on_conflict: OnConflict::Error,
        };
        let moment = Moment {
            now,
            ids: &world.ids,
        };
        let (job, plan) = plan::add(None, addition, &[], Fence::default(), moment).unwrap();
        world.job = Some(job);
        world.write(plan);
        world
    }

    fn live(&self) -> Vec<Run> {
        self.ledger
            .iter()
            .filter(|run| !run.state().is_final())
            .cloned()
            .collect()
    }

    fn ask(&mut self, ask: impl FnOnce(JobView<'_>, Moment<'_>) -> Option<Plan>) {
        let Some(job) = &self.job else { return };
        let live = self.live();
        let view = JobView {
            definition: &job.definition,
            state: &job.state,
            live: &live,
        };
        if let Some(plan) = ask(
            view,
            Moment {
                now: self.now,
                ids: &self.ids,
            },
        ) {
            self.write(plan);
        }
    }

    fn write(&mut self, plan: Plan) {
        for run in plan.update {
            let row = self
                .ledger
                .iter_mut()
                .find(|row| row.id == run.id)
                .expect("an updated row exists");
            *row = run;
        }
        self.ledger.extend(plan.insert);
        match (plan.state, &mut self.job) {
            (Some(state), Some(job)) => job.state = state,
            (None, job) => *job = None,
            (Some(_), None) => panic!("a plan brought a job back"),
        }
    }

    fn claim(&mut self, slots: usize) {
        let due = self
            .job
            .as_ref()
            .and_then(|job| job.state.wake_at)
            .is_some_and(|at| at <= self.now);
        if due {
            let claimer = Claimer {
                node: NodeId(1),
                lease: LEASE,
                slots,
            };
            self.ask(|view, moment| Some(plan::claim(view, claimer, moment)));
        }
    }

    fn running(&self) -> Vec<Run> {
        self.ledger
            .iter()
            .filter(|run| run.state() == RunState::Running)
            .cloned()
            .collect()
    }

    /// Reports the end of a run; `None` gives it back.
    fn finish(&mut self, which: usize, ending: Option<Ending>) {
        let Some(run) = pick(&self.running(), which) else {
            return;
        };
        let retried = ending == Some(Ending::Failed);
        let next_attempt_at = retried.then(|| later(self.now, Duration::from_secs(5)));
        let (id, fence) = (run.id, run.fence);
        let finish = Finish {
            run: id,
            fence,
            ending,
            output: None,
            error: None,
            next_attempt_at,
        };
        self.ask(
            |view, moment| match plan::finish(Some(view), &run, &finish, moment) {
                Finished::Accepted(plan) => Some(plan),
                Finished::Repeated | Finished::Superseded(_) => {
                    panic!("a run of the right fence is nobody else's")
                }
            },
        );
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Pass(seconds) => self.now = later(self.now, Duration::from_secs(seconds)),
            Event::StepBack(seconds) => self.now = earlier(self.now, Duration::from_secs(seconds)),
            Event::Claim(slots) => self.claim(slots),
            Event::Succeed(which) => self.finish(which, Some(Ending::Succeeded)),
            Event::FailAndRetry(which) => self.finish(which, Some(Ending::Failed)),
            Event::GiveBack(which) => self.finish(which, None),
            Event::Crash(which) => {
                if let Some(run) = pick(&self.running(), which) {
                    self.ask(|view, moment| {
                        plan::reclaim(Some(view), &run, Reason::LeaseExpired, moment)
                    });
                }
            }
            Event::RunNow => self.ask(|view, moment| Some(plan::enqueue(view, moment))),
            Event::Pause => {
                let change = JobChange::Pause(PauseRequest::default());
                self.ask(|view, moment| Some(plan::update(view, change, moment).1));
            }
            Event::Resume => {
                self.ask(|view, moment| Some(plan::update(view, JobChange::Resume, moment).1));
            }
            Event::CancelRun(which) => {
                if let Some(run) = pick(&self.live(), which) {
                    self.ask(|view, moment| plan::request_cancel(Some(view), &run, moment));
                }
            }
        }
    }

    /// How often each occurrence stands in the ledger as decided.
    fn decided(&self, seconds: i64) -> BTreeMap<i64, u64> {
        let mut decided = BTreeMap::new();
        for run in self
            .ledger
            .iter()
            .filter(|run| run.kind == RunKind::Scheduled && run.attempt == 1)
        {
            let last = run.scheduled_until.unwrap_or(run.scheduled_at).as_second();
            let first = run.scheduled_at.as_second();
            let span: Vec<i64> = (first..=last).step_by(seconds as usize).collect();
            assert_eq!(
                span.len() as u64,
                run.count,
                "a summary counts what it spans"
            );
            for at in span {
                *decided.entry(at).or_default() += 1;
            }
        }
        decided
    }
}

fn pick(runs: &[Run], which: usize) -> Option<Run> {
    (!runs.is_empty()).then(|| runs[which % runs.len()].clone())
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Pass(u64),
    StepBack(u64),
    Claim(usize),
    Succeed(usize),
    FailAndRetry(usize),
    GiveBack(usize),
    Crash(usize),
    RunNow,
    Pause,
    Resume,
    CancelRun(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0_u64..90).prop_map(Event::Pass),
        1 => (200_u64..100_000).prop_map(Event::Pass),
        1 => (1_u64..120).prop_map(Event::StepBack),
        8 => (1_usize..4).prop_map(Event::Claim),
        4 => any::<usize>().prop_map(Event::Succeed),
        2 => any::<usize>().prop_map(Event::FailAndRetry),
        1 => any::<usize>().prop_map(Event::GiveBack),
        1 => any::<usize>().prop_map(Event::Crash),
        1 => Just(Event::RunNow),
        1 => Just(Event::Pause),
        2 => Just(Event::Resume),
        1 => any::<usize>().prop_map(Event::CancelRun),
    ];
    proptest::collection::vec(event, 1..80)
}

fn policies() -> impl Strategy<Value = Policy> {
    let overlap = prop_oneof![
        Just(Overlap::Skip),
        Just(Overlap::QueueOne),
        Just(Overlap::CancelRunning)
    ];
    let coalesce = prop_oneof![Just(Coalesce::Latest), Just(Coalesce::Off)];
    let grace = prop_oneof![
        Just(None),
        (1_u64..200).prop_map(|seconds| Some(Duration::from_secs(seconds)))
    ];
    (overlap, coalesce, grace, 1_u32..4, any::<bool>()).prop_map(
        |(overlap, coalesce, grace, max, rerun)| Policy {
            overlap,
            coalesce,
            misfire_grace_time: grace,
            max_instances: max,
            on_crash: if rerun {
                OnCrash::Rerun
            } else {
                OnCrash::GiveUp
            },
            ..Policy::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_decided_twice_or_missed(
        seconds in 1_u32..100,
        jitter in 0_u32..60,
        policy in policies(),
        events in events(),
    ) {
        let mut world = World::new(seconds, jitter, policy);
        let mut fence = Fence::default();
        let mut paused = false;
        for event in events {
            let before: Vec<_> = world.running().iter().map(|run| run.id).collect();
            world.apply(event);

            // Instances are bounded, batches run one after another, fences only rise, and a pause holds.
            let running = world.running();
            let mut instances: Vec<_> = running.iter().map(|run| run.instance).collect();
            instances.sort_unstable();
            instances.dedup();
            prop_assert_eq!(instances.len(), running.len(), "two runs of one instance at once");
            prop_assert!(instances.len() <= policy.max_instances as usize);
            for run in running.iter().filter(|run| !before.contains(&run.id)) {
                prop_assert!(run.fence > fence);
                prop_assert!(!paused, "a run started while the job was paused");
                prop_assert!(run.due_at <= world.now, "a run started before it was due");
            }
            fence = running.iter().map(|run| run.fence).max().unwrap_or(fence).max(fence);
            let job = world.job.as_ref().expect("an interval without an end never ends");
            prop_assert_eq!(job.state.live as usize, world.live().len());
            paused = job.state.paused.is_some();

            // Where nothing runs, whatever waits has a wake-up.
            if running.is_empty() && !paused {
                let first = world.live().iter().map(|run| run.due_at).min();
                prop_assert!(first.is_none_or(|first| job.state.wake_at.is_some_and(|wake| wake <= first)));
            }
        }

        let job = world.job.as_ref().unwrap();
        let step = i64::from(seconds);
        let decided = world.decided(step);
        let cursor = job.state.cursor.as_second();
        let expected: Vec<i64> = (START + step..=cursor).step_by(seconds as usize).collect();
        prop_assert_eq!(decided.keys().copied().collect::<Vec<_>>(), expected, "missed or invented");
        prop_assert!(decided.values().all(|&times| times == 1), "an occurrence was decided twice");

        // Attempts at one occurrence are numbered without a gap and share its key.
        let mut attempts: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for run in &world.ledger {
            attempts.entry(run.idempotency_key()).or_default().push(run.attempt);
        }
        for numbers in attempts.values_mut() {
            numbers.sort_unstable();
            prop_assert!(numbers.iter().copied().eq(1..=numbers.len() as u32));
        }
    }
}

fn at_once() -> Policy {
    Policy {
        max_instances: 2,
        ..Policy::default()
    }
}

/// Somebody wants it to stop: that it fails before it hears of that is no reason to try again.
#[test]
fn a_cancelled_run_that_fails_is_not_tried_again() {
    for (cancels, rows) in [(false, 2), (true, 1)] {
        let mut world = World::new(60, 0, at_once());
        world.apply(Event::Pass(60));
        world.apply(Event::Claim(1));
        if cancels {
            world.apply(Event::CancelRun(0));
        }
        world.apply(Event::FailAndRetry(0));
        let of_first: Vec<_> = world
            .ledger
            .iter()
            .filter(|run| run.scheduled_at == world.ledger[0].scheduled_at)
            .collect();
        assert_eq!(of_first.len(), rows, "cancelled: {cancels}");
    }
}

/// Decisions are counted anew in each life of an id, so the number alone does not say what is one instance.
#[test]
fn a_run_of_a_former_life_holds_up_no_retry() {
    let mut world = World::new(60, 0, at_once());
    world.apply(Event::Pass(60));
    world.apply(Event::Claim(1));
    let mut former = world.running()[0].clone();
    former.id = world.ids.next(world.now);
    former.job_key = punctual_core::id::JobKey(former.job_key.0 ^ 1);
    world.apply(Event::FailAndRetry(0));
    world.ledger.push(former);
    world.ask(|view, moment| Some(plan::update(view, JobChange::Resume, moment).1));
    let retry = later(world.now, Duration::from_secs(5));
    assert_eq!(world.job.as_ref().unwrap().state.wake_at, Some(retry));
}
