//! The clients: several at once, each asking random nodes for random things, and a journal of all they asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Method;
use jiff::Timestamp;
use punctual_core::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::api::{Answer, Api, now, snapshot};
use super::history::{
    JobHistory, Kind, Micros, Offset, SECOND, Snapshot, Step, Verb, Violation, Window,
};
use super::nodes::Cluster;
use super::workload::{Spec, in_millis, trigger};

/// How long what a dead node sent to its store may still be on its way.
const SETTLE: Duration = Duration::from_millis(400);
/// A request that took longer may find its dates in the past.
const SLOW: Micros = SECOND;

/// A step with times of our clock; the store's is known in the end.
#[derive(Clone, Debug)]
struct Noted {
    sent: Micros,
    answered: Micros,
    verb: Verb,
    certain: bool,
    after: Option<Snapshot>,
}

/// A job, as far as the clients know it.
#[derive(Debug)]
struct Known {
    spec: Spec,
    /// The trigger that it was given last; `None` where that may not have been heard.
    declared: Option<Value>,
    now: Option<Snapshot>,
    steps: Vec<Noted>,
}

#[derive(Debug, Default)]
struct Manual {
    keys: Vec<String>,
    unsure: usize,
}

/// All that clients share.
#[derive(Debug)]
pub(crate) struct Journal {
    api: Api,
    cluster: Arc<Cluster>,
    ids: Vec<String>,
    jobs: Vec<tokio::sync::Mutex<Known>>,
    manual: Vec<Mutex<Manual>>,
    offset: Mutex<Offset>,
    broken: Mutex<Vec<Violation>>,
    pub(crate) asked: AtomicUsize,
    pub(crate) unanswered: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is to be sent, and to how many nodes at once.
struct Asking {
    verb: Verb,
    method: Method,
    /// Behind the id of the job; `None` adds a job.
    action: Option<&'static str>,
    body: Option<Value>,
    twice: bool,
}

impl Asking {
    fn of(verb: Verb, method: Method, action: Option<&'static str>, body: Option<Value>) -> Self {
        Self {
            verb,
            method,
            action,
            body,
            twice: false,
        }
    }
}

impl Journal {
    /// Nothing has been asked yet.
    pub(crate) fn new(api: Api, cluster: Arc<Cluster>, specs: Vec<Spec>) -> Arc<Self> {
        let ids = specs.iter().map(|spec| spec.id.clone()).collect();
        let manual = specs.iter().map(|_| Mutex::default()).collect();
        let known = |spec| Known {
            spec,
            declared: None,
            now: None,
            steps: Vec::new(),
        };
        Arc::new(Self {
            api,
            cluster,
            ids,
            jobs: specs
                .into_iter()
                .map(known)
                .map(tokio::sync::Mutex::new)
                .collect(),
            manual,
            offset: Mutex::new(Offset::unknown()),
            broken: Mutex::default(),
            asked: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
        })
    }

    /// Adds every job, a few at a time.
    pub(crate) async fn add_all(self: &Arc<Self>, seed: u64, clients: usize) {
        let mut tasks = tokio::task::JoinSet::new();
        for client in 0..clients {
            let journal = Arc::clone(self);
            tasks.spawn(async move {
                let mut rng = fastrand::Rng::with_seed(seed ^ (client as u64) << 32);
                for index in (client..journal.jobs.len()).step_by(clients) {
                    let mut job = journal.jobs[index].lock().await;
                    journal.add(&mut rng, &mut job).await;
                }
            });
        }
        tasks.join_all().await;
    }

    /// Asks for things until `stop` says so.
    pub(crate) async fn work(self: Arc<Self>, seed: u64, stop: watch::Receiver<bool>) {
        let mut rng = fastrand::Rng::with_seed(seed);
        while !*stop.borrow() {
            let index = rng.usize(..self.jobs.len());
            if rng.u8(0..4) == 0 {
                self.run_now(&mut rng, index).await;
            } else if let Ok(mut job) = self.jobs[index].try_lock() {
                self.change(&mut rng, &mut job).await;
            }
            sleep(Duration::from_millis(rng.u64(80..400))).await;
        }
    }

    /// A node's address; sometimes that of a frozen one.
    async fn base(&self, rng: &mut fastrand::Rng) -> String {
        loop {
            let bases = self.cluster.bases(rng.u8(0..10) == 0);
            if !bases.is_empty() {
                return bases[rng.usize(..bases.len())].clone();
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn change(&self, rng: &mut fastrand::Rng, job: &mut Known) {
        let Some(known) = job.now.clone() else {
            return self.add(rng, job).await;
        };
        let present = SystemClock.now();
        let asking = match rng.u8(0..100) {
            0..=19 if known.paused.is_none() => pause(rng, present),
            0..=39 if known.paused.is_some() => Asking {
                twice: rng.u8(0..5) == 0,
                ..Asking::of(Verb::Resume, Method::POST, Some("/resume"), None)
            },
            20..=44 => pause(rng, present),
            45..=56 => {
                let declared = trigger(rng, present);
                let body = json!({ "trigger": declared });
                job.declared = Some(declared);
                Asking::of(Verb::SetTrigger, Method::PATCH, Some(""), Some(body))
            }
            57..=64 => {
                let at = in_millis(present, rng.u64(1500..4000));
                let body = json!({ "next_run_time": at.to_string() });
                let verb = Verb::SetNextRun(at.as_microsecond());
                Asking::of(verb, Method::PATCH, Some(""), Some(body))
            }
            65..=70 => {
                let body = json!({ "max_instances": rng.u32(1..=3) });
                Asking::of(Verb::SetMaxInstances, Method::PATCH, Some(""), Some(body))
            }
            71..=76 => {
                let body = json!({ "name": format!("name {}", rng.u16(..)), "tags": ["a", "b"] });
                Asking::of(Verb::Rename, Method::PATCH, Some(""), Some(body))
            }
            77..=86 => {
                let kept = job.declared.take().filter(|_| rng.bool());
                let same_trigger = kept.is_some();
                let declared = kept.unwrap_or_else(|| trigger(rng, present));
                let mut body = job.spec.definition(&declared);
                job.declared = Some(declared);
                body["replace_existing"] = true.into();
                let verb = Verb::Replace { same_trigger };
                Asking::of(verb, Method::POST, None, Some(body))
            }
            _ => Asking {
                twice: rng.u8(0..3) == 0,
                ..Asking::of(Verb::Remove, Method::DELETE, Some(""), None)
            },
        };
        self.act(rng, job, asking).await;
    }

    async fn add(&self, rng: &mut fastrand::Rng, job: &mut Known) {
        let declared = trigger(rng, SystemClock.now());
        let body = job.spec.definition(&declared);
        job.declared = Some(declared);
        let asking = Asking {
            twice: rng.u8(0..5) == 0,
            ..Asking::of(Verb::Add, Method::POST, None, Some(body))
        };
        self.act(rng, job, asking).await;
    }

    /// Asks, and notes what came of it.
    async fn act(&self, rng: &mut fastrand::Rng, job: &mut Known, asking: Asking) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let path = match asking.action {
            None => "/scheduler/jobs".to_owned(),
            Some(action) => format!("/scheduler/jobs/{}{action}", job.spec.id),
        };
        let sent = now();
        let (one, other) = (self.base(rng).await, self.base(rng).await);
        let ask = |base: String| {
            let (method, path, body) = (asking.method.clone(), &path, asking.body.as_ref());
            async move { self.api.ask(&base, method, path, body).await }
        };
        let answers = if asking.twice {
            let (one, other) = tokio::join!(ask(one), ask(other));
            vec![one, other]
        } else {
            vec![ask(one).await]
        };
        let outcome = self.judge(job, &asking, &answers);
        let noted = match outcome {
            Some((verb, after)) => Noted {
                sent,
                answered: now(),
                verb,
                certain: true,
                after,
            },
            None => {
                if answers.iter().any(Result::is_err) {
                    self.unanswered.fetch_add(1, Ordering::SeqCst);
                }
                let (answered, after) = self.look(rng, &job.spec.id).await;
                Noted {
                    sent,
                    answered,
                    verb: asking.verb,
                    certain: false,
                    after,
                }
            }
        };
        if !noted.certain {
            job.declared = None;
        }
        job.now.clone_from(&noted.after);
        job.steps.push(noted);
    }

    /// What the answers say; `None` where they do not tell what became of the job.
    fn judge(
        &self,
        job: &Known,
        asking: &Asking,
        answers: &[Result<Answer, String>],
    ) -> Option<(Verb, Option<Snapshot>)> {
        let mut outcomes = Vec::new();
        for answer in answers {
            let answer = answer.as_ref().ok()?;
            match answer.status {
                200 if answer.body.is_object() => {
                    let after = snapshot(&answer.body);
                    if let Err(error) = &after {
                        self.note(job, asking, &format!("{error}: {}", answer.body));
                    }
                    if asking.verb == Verb::Add {
                        self.observe(answer);
                    }
                    outcomes.push((asking.verb, Some(after.ok()?)));
                }
                // Removed, or nothing was left to run.
                200 => outcomes.push((Verb::Look, None)),
                204 => outcomes.push((asking.verb, None)),
                404 if asking.action.is_some() => outcomes.push((Verb::Look, None)),
                409 if asking.twice && asking.verb == Verb::Add => {}
                // Its dates have passed meanwhile, or the trigger that it has.
                422 if answer.answered - answer.sent > SLOW
                    || job.now.as_ref().is_some_and(is_over) =>
                {
                    return None;
                }
                503 => return None,
                status => {
                    self.note(job, asking, &format!("{status}: {}", answer.body));
                    return None;
                }
            }
        }
        if asking.twice && matches!(asking.verb, Verb::Add | Verb::Remove) {
            let done = outcomes
                .iter()
                .filter(|(verb, _)| *verb == asking.verb)
                .count();
            // A job that was over between the two could be added once more.
            let was_over = outcomes
                .iter()
                .any(|(_, after)| after.as_ref().is_some_and(is_over));
            if done > 1 && !was_over {
                let what = format!("{:?} was acknowledged to two clients at once", asking.verb);
                self.note(job, asking, &what);
            }
            outcomes.sort_by_key(|(verb, _)| *verb != asking.verb);
        }
        outcomes.into_iter().next()
    }

    fn observe(&self, answer: &Answer) {
        let created = answer.body["created_at"]
            .as_str()
            .map(super::history::micros);
        if let Some(Ok(created)) = created {
            lock(&self.offset).observe(answer.sent, answer.answered, created);
        }
    }

    fn note(&self, job: &Known, asking: &Asking, what: &str) {
        lock(&self.broken).push(Violation {
            kind: Kind::Answer,
            job: job.spec.id.clone(),
            what: format!("{:?} was answered with {what}", asking.verb),
            evidence: asking.body.iter().map(ToString::to_string).collect(),
        });
    }

    /// How a job is, once nothing is on its way any more; and the moment up to which it may have become so.
    async fn look(&self, rng: &mut fastrand::Rng, id: &str) -> (Micros, Option<Snapshot>) {
        loop {
            sleep(SETTLE).await;
            let base = self.base(rng).await;
            let path = format!("/scheduler/jobs/{id}");
            match self.api.ask(&base, Method::GET, &path, None).await {
                Ok(answer) if answer.status == 404 => return (answer.sent, None),
                Ok(answer) if answer.status == 200 => {
                    if let Ok(found) = snapshot(&answer.body) {
                        return (answer.sent, Some(found));
                    }
                }
                _ => {}
            }
        }
    }

    async fn run_now(&self, rng: &mut fastrand::Rng, index: usize) {
        let base = self.base(rng).await;
        let path = format!("/scheduler/jobs/{}/run", self.ids[index]);
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.api.ask(&base, Method::POST, &path, None).await;
        let mut manual = lock(&self.manual[index]);
        match answer {
            Ok(answer) if answer.status == 200 => {
                let key = answer.body["run"]["idempotency_key"].as_str();
                manual.keys.extend(key.map(str::to_owned));
            }
            Ok(answer) if answer.status == 404 => {}
            Ok(answer) if answer.status != 503 => lock(&self.broken).push(Violation {
                kind: Kind::Answer,
                job: self.ids[index].clone(),
                what: format!("run now was answered with {}", answer.status),
                evidence: vec![answer.body.to_string()],
            }),
            _ => {
                self.unanswered.fetch_add(1, Ordering::SeqCst);
                manual.unsure += 1;
            }
        }
    }

    /// How far the store's clock is from ours.
    pub(crate) fn offset(&self) -> Offset {
        *lock(&self.offset)
    }

    /// The answers that nothing should get.
    pub(crate) fn broken(&self) -> Vec<Violation> {
        lock(&self.broken).clone()
    }

    /// The history of each job, with how it is in the end: `jobs` by their id, seen in `window` of our clock.
    pub(crate) async fn close(
        &self,
        jobs: &std::collections::BTreeMap<String, Snapshot>,
        seen: (Micros, Micros),
    ) -> std::collections::BTreeMap<String, JobHistory> {
        let offset = self.offset();
        let mut closed = std::collections::BTreeMap::new();
        for (index, job) in self.jobs.iter().enumerate() {
            let job = job.lock().await;
            let last = Noted {
                sent: seen.0,
                answered: seen.1,
                verb: Verb::Look,
                certain: true,
                after: jobs.get(&job.spec.id).cloned(),
            };
            let steps = job.steps.iter().chain([&last]).map(|noted| Step {
                window: offset.window(noted.sent, noted.answered),
                verb: noted.verb,
                certain: noted.certain,
                after: noted.after.clone(),
            });
            let manual = lock(&self.manual[index]);
            let history = JobHistory {
                profile: job.spec.profile,
                steps: steps.collect(),
                manual: manual.keys.clone(),
                manual_unsure: manual.unsure,
            };
            closed.insert(job.spec.id.clone(), history);
        }
        closed
    }

    /// A window of our clock, on the store's.
    pub(crate) fn window(&self, sent: Micros, answered: Micros) -> Window {
        self.offset().window(sent, answered)
    }
}

fn pause(rng: &mut fastrand::Rng, present: Timestamp) -> Asking {
    let until = (rng.u8(0..5) < 2).then(|| in_millis(present, rng.u64(1000..5000)).to_string());
    let body = match until {
        Some(until) => json!({ "by": "torture", "until": until }),
        None => json!({ "by": "torture" }),
    };
    Asking {
        twice: rng.u8(0..5) == 0,
        ..Asking::of(Verb::Pause, Method::POST, Some("/pause"), Some(body))
    }
}

/// Whether the schedule may have no occurrence left, so that its job cannot be added again as it is.
fn is_over(job: &Snapshot) -> bool {
    job.is_date()
        || job.trigger.get("end_date").is_some()
        || job.trigger["triggers"]
            .as_array()
            .is_some_and(|parts| parts.iter().any(|part| part.get("end_date").is_some()))
}
