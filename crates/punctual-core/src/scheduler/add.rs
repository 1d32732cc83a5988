//! Adding a job by a sentence: `scheduler.add(cleanup(30)).id("cleanup").cron("hour=3").await?`.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use punctual_trigger::{Trigger, TriggerError};
use serde_json::{Map, Value};

use super::error::Error;
use super::new_job::NewJob;
use super::{AddedJob, DEFAULT_ALIAS, Scheduler};
use crate::closure::{CLOSURE_STORE, CLOSURE_TASK};
use crate::job::{Coalesce, JobArgs, OnCrash, Overlap, Retry, StoredJob};
use crate::memory::MemoryStore;
use crate::store::{BoxFuture, JobQuery};
use crate::task::{AsyncFunction, BlockingFunction, IntoNewJob, Task, async_task, blocking_task};

/// A moment for [`AddJob::at`]: an instant, or a date string such as `2026-12-24 18:00:00`, read in the job's time zone.
#[derive(Clone, Debug)]
pub struct Moment(Result<Trigger, TriggerError>);

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(Ok(Trigger::date(at)))
    }
}

impl From<&str> for Moment {
    fn from(at: &str) -> Self {
        Self(Trigger::at(at))
    }
}

impl From<String> for Moment {
    fn from(at: String) -> Self {
        at.as_str().into()
    }
}

/// A job that is being described, and when it runs. What does not fit is said when it is added.
#[derive(Debug)]
struct Draft {
    scheduler: Scheduler,
    job: NewJob,
    /// The word that said when, and what it said.
    when: Option<(&'static str, Trigger)>,
    bounds: Vec<(&'static str, Bound)>,
    refused: Option<Error>,
}

/// What goes with a schedule.
#[derive(Debug)]
enum Bound {
    Timezone(String),
    Start(String),
    End(String),
    Jitter(Duration),
}

impl Draft {
    fn new(scheduler: Scheduler, job: NewJob) -> Self {
        Self {
            scheduler,
            job,
            when: None,
            bounds: Vec::new(),
            refused: None,
        }
    }

    fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }

    fn when(&mut self, word: &'static str, trigger: Result<Trigger, TriggerError>) {
        match trigger {
            Err(error) => self.refuse(error.into()),
            Ok(trigger) => {
                if let Some((first, _)) = self.when.replace((word, trigger)) {
                    self.refuse(Error::invalid(
                        "trigger",
                        format!("{first} and {word} both say when; give one of them, or Trigger::or(…) to trigger"),
                    ));
                }
            }
        }
    }

    fn finish(self) -> Result<(Scheduler, NewJob), Error> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        let mut trigger = self.when.map(|(_, trigger)| trigger);
        for (word, bound) in self.bounds {
            let Some(bare) = trigger else {
                return Err(Error::invalid(
                    word,
                    "goes with a schedule; say when the job runs: cron, crontab, every, at or trigger",
                ));
            };
            trigger = Some(match bound {
                Bound::Timezone(zone) => bare.with_timezone(&zone)?,
                Bound::Start(date) => bare.with_start_date(&date)?,
                Bound::End(date) => bare.with_end_date(&date)?,
                Bound::Jitter(jitter) => bare.with_jitter(jitter)?,
            });
        }
        let job = match trigger {
            Some(trigger) => self.job.trigger(trigger),
            None => self.job,
        };
        Ok((self.scheduler, job))
    }
}

macro_rules! sentence {
    () => {
        /// The id; random unless given.
        pub fn id(self, id: impl Into<String>) -> Self {
            self.with(|job| job.id(id))
        }

        /// The name for people; the id unless given.
        pub fn name(self, name: impl Into<String>) -> Self {
            self.with(|job| job.name(name))
        }

        /// Runs at the moments that `APScheduler`'s cron fields name: `"day_of_week=mon-fri hour=9"`.
        pub fn cron(mut self, fields: &str) -> Self {
            self.draft.when("cron", Trigger::cron_fields(fields));
            self
        }

        /// Runs when cron(5) would: `"0 9 * * 1-5"`; with six fields, seconds first.
        pub fn crontab(mut self, expression: &str) -> Self {
            self.draft.when("crontab", Trigger::crontab(expression));
            self
        }

        /// Runs again and again, in elapsed time; the first time when one interval has passed.
        pub fn every(mut self, interval: Duration) -> Self {
            self.draft.when("every", Trigger::interval(interval));
            self
        }

        /// Runs once.
        pub fn at(mut self, moment: impl Into<Moment>) -> Self {
            self.draft.when("at", moment.into().0);
            self
        }

        /// Runs by any trigger.
        pub fn trigger(mut self, trigger: Trigger) -> Self {
            self.draft.when("trigger", Ok(trigger));
            self
        }

        /// The zone of the schedule, by its IANA name; the scheduler's unless given.
        pub fn timezone(self, zone: impl Into<String>) -> Self {
            self.bound("timezone", Bound::Timezone(zone.into()))
        }

        /// No run before this date string, inclusive.
        pub fn start_date(self, start: impl Into<String>) -> Self {
            self.bound("start_date", Bound::Start(start.into()))
        }

        /// No run after this date string, inclusive.
        pub fn end_date(self, end: impl Into<String>) -> Self {
            self.bound("end_date", Bound::End(end.into()))
        }

        /// Runs up to so much later, another delay each time.
        pub fn jitter(self, jitter: Duration) -> Self {
            self.bound("jitter", Bound::Jitter(jitter))
        }

        /// The executor; `default` unless given.
        pub fn executor(self, alias: impl Into<String>) -> Self {
            self.with(|job| job.executor(alias))
        }

        /// One more label.
        pub fn tag(self, tag: impl Into<String>) -> Self {
            self.with(|job| job.tag(tag))
        }

        /// Runs first at this moment, and then by its schedule.
        pub fn next_run_time(self, at: Timestamp) -> Self {
            self.with(|job| job.next_run_time(at))
        }

        /// Is paused from the beginning.
        pub fn paused(self) -> Self {
            self.with(NewJob::paused)
        }

        /// Replaces a job with the same id. Keeps a pause, and cursor and phase where the trigger is the same.
        pub fn replace_existing(self) -> Self {
            self.with(NewJob::replace_existing)
        }

        /// How late a run may start; `None` is however late.
        pub fn misfire_grace_time(self, grace: impl Into<Option<Duration>>) -> Self {
            self.with(|job| job.misfire_grace_time(grace))
        }

        /// What becomes of several occurrences found due together.
        pub fn coalesce(self, coalesce: Coalesce) -> Self {
            self.with(|job| job.coalesce(coalesce))
        }

        /// How many instances may be live at once, over all nodes; at least 1.
        pub fn max_instances(self, max: u32) -> Self {
            self.with(|job| job.max_instances(max))
        }

        /// What becomes of an occurrence beyond that.
        pub fn overlap(self, overlap: Overlap) -> Self {
            self.with(|job| job.overlap(overlap))
        }

        /// What follows a failure; `None` is nothing.
        pub fn retry(self, retry: impl Into<Option<Retry>>) -> Self {
            self.with(|job| job.retry(retry))
        }

        /// How long one attempt may take; `None` is as long as it likes.
        pub fn timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
            self.with(|job| job.timeout(timeout))
        }

        /// What follows the death of the node.
        pub fn on_crash(self, on_crash: OnCrash) -> Self {
            self.with(|job| job.on_crash(on_crash))
        }

        /// Adds the job and waits until it is stored: the twin of `.await` for code that is not async.
        ///
        /// # Errors
        ///
        /// As [`Scheduler::add_job`].
        pub fn wait(self) -> Result<AddedJob, Error> {
            async_io::block_on(self.into_future())
        }

        fn with(mut self, change: impl FnOnce(NewJob) -> NewJob) -> Self {
            self.draft.job = change(self.draft.job);
            self
        }

        fn bound(mut self, word: &'static str, bound: Bound) -> Self {
            self.draft.bounds.push((word, bound));
            self
        }
    };
}

/// A job to add, described by [`Scheduler::add`]. Nothing happens before it is awaited, or [`wait`](Self::wait)ed for.
#[derive(Debug)]
#[must_use = "await it, or call `wait`: nothing is added before"]
pub struct AddJob {
    draft: Draft,
}

impl AddJob {
    sentence!();

    /// All arguments by name, where the call has none of its own.
    pub fn kwargs(self, kwargs: Map<String, Value>) -> Self {
        self.with(|job| job.kwargs(kwargs))
    }

    /// The job store; `default` unless given.
    pub fn job_store(self, alias: impl Into<String>) -> Self {
        self.with(|job| job.job_store(alias))
    }

    /// Is added even where no node has its task; it waits for one that has.
    pub fn allow_unknown_task(self) -> Self {
        self.with(NewJob::allow_unknown_task)
    }
}

impl IntoFuture for AddJob {
    type Output = Result<AddedJob, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (scheduler, job) = self.draft.finish()?;
            scheduler.add_job(job).await
        })
    }
}

/// A job that calls a closure, described by [`Scheduler::add_local`]. It has no job store to choose and is never stored: code
/// is no data. Nothing happens before it is awaited, or [`wait`](Self::wait)ed for.
#[must_use = "await it, or call `wait`: nothing is added before"]
#[expect(missing_debug_implementations, reason = "it is code")]
pub struct AddLocal {
    draft: Draft,
    closure: Arc<dyn Task>,
}

impl AddLocal {
    sentence!();
}

impl IntoFuture for AddLocal {
    type Output = Result<AddedJob, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (scheduler, job) = self.draft.finish()?;
            scheduler.add_closure(job, self.closure).await
        })
    }
}

impl Scheduler {
    /// Describes a job to add: a call of a task that is a type (`#[task]`), or a [`NewJob`].
    ///
    /// ```
    /// use punctual_core::scheduler::{NewJob, Scheduler};
    ///
    /// # async fn example(scheduler: Scheduler) -> Result<(), punctual_core::scheduler::Error> {
    /// let report = NewJob::new("report").arg("weekly");
    /// scheduler.add(report).id("weekly").cron("day_of_week=mon hour=9").timezone("Europe/Paris").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn add(&self, job: impl IntoNewJob) -> AddJob {
        AddJob {
            draft: Draft::new(self.clone(), job.into_new_job()),
        }
    }

    /// Describes a job that calls an async closure. It lives in memory, in a job store of its own (`punctual:local`), and is
    /// gone with the process. The closure takes what tasks take, but [`Args`](crate::task::Args): it captures what it needs.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual_core::scheduler::Scheduler;
    ///
    /// # async fn example(scheduler: Scheduler) -> Result<(), punctual_core::scheduler::Error> {
    /// let name = "world".to_owned();
    /// let greet = move || {
    ///     let name = name.clone();
    ///     async move { println!("hello, {name}") }
    /// };
    /// scheduler.add_local(greet).every(Duration::from_secs(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn add_local<P: 'static>(&self, closure: impl AsyncFunction<P>) -> AddLocal {
        self.describe_closure(async_task(closure))
    }

    /// The same for a closure that may block; it runs on a thread of the executor.
    pub fn add_local_blocking<P: 'static>(&self, closure: impl BlockingFunction<P>) -> AddLocal {
        self.describe_closure(blocking_task(closure))
    }

    fn describe_closure(&self, closure: Arc<dyn Task>) -> AddLocal {
        let job = NewJob::new(CLOSURE_TASK)
            .job_store(CLOSURE_STORE)
            .allow_unknown_task();
        AddLocal {
            draft: Draft::new(self.clone(), job),
            closure,
        }
    }

    async fn add_closure(&self, job: NewJob, closure: Arc<dyn Task>) -> Result<AddedJob, Error> {
        if let Err(error) = closure.check(&JobArgs::default()) {
            let message = "a closure has no arguments: let it capture what it needs";
            return Err(Error::invalid(error.field, message));
        }
        if let Some(alias) = &job.executor
            && alias != DEFAULT_ALIAS
            && !self.executors().contains(alias)
        {
            return Err(self.0.unknown_executor(alias));
        }
        if !self.0.has_closures.load(Ordering::SeqCst) {
            let store = MemoryStore::new(Arc::clone(&self.0.clock));
            match self.attach(CLOSURE_STORE, Arc::new(store)) {
                Ok(()) | Err(Error::AliasTaken { .. }) => {} // by another thread that adds its first
                Err(error) => return Err(error),
            }
            self.0.has_closures.store(true, Ordering::SeqCst);
            self.0.collect_tasks();
            self.wakeup();
        }
        let closures = self.0.registry.closures();
        if closures.wants_sweep() {
            self.sweep_closures().await?;
        }
        let adding = closures.insert(closure);
        self.add_job(job.args(adding.args())).await
    }

    /// Lets go of closures whose jobs are gone.
    async fn sweep_closures(&self) -> Result<(), Error> {
        let closures = self.0.registry.closures();
        let added = closures.added();
        let jobs = self.query_jobs(CLOSURE_STORE, &JobQuery::default()).await?;
        let args = jobs.items.iter().filter_map(|job| match job {
            StoredJob::Job(job) => Some(&*job.definition.args),
            StoredJob::Unreadable(_) => None,
        });
        closures.sweep(&added, args);
        Ok(())
    }
}
