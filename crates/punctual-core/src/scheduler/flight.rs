//! Runs in flight: handed to an executor, watched, stopped, and their end noted exactly once.

use std::sync::Arc;

use futures_util::future::Abortable;

use super::shared::{Attached, InFlight, Place, Shared, Stop, lock};
use crate::clock::later;
use crate::id::{RunId, random_fraction};
use crate::job::OnCrash;
use crate::plan::Finish;
use crate::run::{Ending, Reason};
use crate::store::BoxFuture;
use crate::task::{Start, TaskEnd};

/// A run in the hands of an executor. One that drops it, instead of saying how it ended, has given it up.
pub(super) struct Entrusted {
    pub(super) shared: Arc<Shared>,
    pub(super) attached: Arc<Attached>,
    pub(super) id: RunId,
    pub(super) start: Start,
    pub(super) is_over: bool,
    /// Free again after the end is noted.
    pub(super) _place: Place,
}

impl Entrusted {
    pub(super) fn done(mut self, end: TaskEnd) {
        self.is_over = true;
        self.start.announce();
        ended(&self.shared, &self.attached, self.id, Some(end));
    }
}

impl Drop for Entrusted {
    fn drop(&mut self) {
        if !self.is_over {
            ended(&self.shared, &self.attached, self.id, None);
        }
    }
}

/// Notes the end of a run, once: whoever comes second finds it gone. `None`: it did not end, but was given up.
pub(super) fn ended(shared: &Shared, attached: &Attached, id: RunId, end: Option<TaskEnd>) {
    let first = {
        // Under one lock: at every moment a run is in flight or reported. Between the two it would look as if this node
        // had never heard of it, or as if nothing were left to wait for.
        let mut running = lock(&attached.running);
        let Some(flight) = running.remove(&id) else {
            return;
        };
        if let Some(timer) = &flight.timer {
            timer.abort();
        }
        let finish = finish_of(shared, attached, &flight, end);
        let mut reports = lock(&attached.reports);
        reports.push((finish, flight.run));
        reports.len() == 1
    };
    // The loop takes all that there are; whoever comes second rides along.
    if first {
        attached.wake.notify(usize::MAX);
    }
}

fn finish_of(
    shared: &Shared,
    attached: &Attached,
    flight: &InFlight,
    end: Option<TaskEnd>,
) -> Finish {
    let InFlight {
        run,
        definition,
        stop,
        output,
        ..
    } = flight;
    let timeout = definition.policy.timeout.unwrap_or_default().as_secs_f64();
    let timed_out = || format!("took longer than its timeout of {timeout} s");
    let (ending, error) = match (end, stop) {
        (Some(TaskEnd::Succeeded), _) => (Ending::Succeeded, None),
        (_, Some(Stop::Timeout)) => (Ending::TimedOut, Some(timed_out())),
        (_, Some(Stop::Requested)) => (Ending::Cancelled(Reason::Requested), None),
        (_, Some(Stop::Shutdown)) => (Ending::Cancelled(Reason::Shutdown), None),
        (Some(TaskEnd::LeaseEnded(error)), _) => (Ending::Lost, Some(error)),
        (_, Some(Stop::Lost)) => (Ending::Lost, None),
        (Some(TaskEnd::Failed(error)), None) => (Ending::Failed, Some(error)),
        (Some(TaskEnd::TimedOut(error)), None) => (Ending::TimedOut, Some(error)),
        (None, None) => (Ending::Failed, Some("the executor gave it up".to_owned())),
    };
    let now = || {
        let now = shared.clock.now();
        now.checked_add(*lock(&attached.offset)).unwrap_or(now)
    };
    let policy = &definition.policy;
    let next_attempt_at = match ending {
        Ending::Failed | Ending::TimedOut => policy
            .retry
            .and_then(|retry| retry.wait_after(run.attempt - run.crashes, random_fraction()))
            .map(|wait| later(now(), wait)),
        // The rest of the work is handed to whoever comes next.
        Ending::Cancelled(Reason::Shutdown) if policy.on_crash == OnCrash::Rerun => Some(now()),
        _ => None,
    };
    Finish {
        run: run.id,
        fence: run.fence,
        ending: Some(ending),
        output: output.text(),
        error,
        next_attempt_at,
    }
}

/// Asks a run of this process to stop, and ends it where it stands when it takes too long. Returns whether it is here.
pub(super) fn stop(shared: &Arc<Shared>, attached: &Arc<Attached>, id: RunId, why: Stop) -> bool {
    let cancel = {
        let mut running = lock(&attached.running);
        let Some(flight) = running.get_mut(&id) else {
            return false;
        };
        if flight.stop.is_some() {
            return true;
        }
        flight.stop = Some(why);
        flight.cancel.clone()
    };
    cancel.cancel();
    // A loop that nobody turns any more must not keep its scheduler alive, which has the loop.
    let weak = (Arc::downgrade(shared), Arc::downgrade(attached));
    let grace = shared.runtime.sleep(shared.settings.cancel_grace);
    shared.runtime.spawn(Box::pin(async move {
        grace.await;
        cancel.kill();
        if let (Some(shared), Some(attached)) = (weak.0.upgrade(), weak.1.upgrade()) {
            ended(&shared, &attached, id, None);
        }
    }));
    true
}

/// Stops the run when its time is over; the end of the run ends this too.
pub(super) fn watch_timeout(
    shared: &Arc<Shared>,
    attached: &Arc<Attached>,
    id: RunId,
    timer: Abortable<BoxFuture<'static, ()>>,
) {
    let weak = (Arc::downgrade(shared), Arc::downgrade(attached));
    shared.runtime.spawn(Box::pin(async move {
        if timer.await.is_ok()
            && let (Some(shared), Some(attached)) = (weak.0.upgrade(), weak.1.upgrade())
        {
            stop(&shared, &attached, id, Stop::Timeout);
        }
    }));
}
