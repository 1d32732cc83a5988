//! From a history to the promises that it breaks. Pure: nothing is read but the history.
//!
//! Who asked for what is known as windows, from the request to its answer; where a promise depends on the order of two
//! things whose windows meet, both orders are allowed.

mod attempts;
mod control;
mod occurrences;
mod receiver;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use super::history::{
    History, JobHistory, Kind, Micros, Request, Row, Snapshot, Verb, Violation, Window,
};

/// Every promise that the history breaks.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let facts = Facts::of(history);
    let mut found = Vec::new();
    for (id, job) in &history.jobs {
        let rows = facts.rows_of(id);
        let lives = lives(job);
        occurrences::check(&facts, id, job, rows, &mut found);
        attempts::check(&facts, id, job, rows, &lives, &mut found);
        control::check(&facts, id, job, rows, &lives, &mut found);
        receiver::check(&facts, id, job, rows, &mut found);
    }
    for (id, rows) in &facts.rows {
        if !history.jobs.contains_key(*id) {
            found.push(violation(
                Kind::Phantom,
                id,
                "rows of a job that nobody added",
                rows,
            ));
        }
    }
    found
}

/// The history with its rows and requests in order.
struct Facts<'a> {
    history: &'a History,
    rows: BTreeMap<&'a str, Vec<&'a Row>>,
    requests: HashMap<&'a str, Vec<&'a Request>>,
}

impl<'a> Facts<'a> {
    fn of(history: &'a History) -> Self {
        let mut rows: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in &history.rows {
            rows.entry(&row.job).or_default().push(row);
        }
        for rows in rows.values_mut() {
            rows.sort_by_key(|row| (row.scheduled_at, &row.life, row.attempt));
        }
        let mut requests: HashMap<&str, Vec<&Request>> = HashMap::new();
        for request in &history.requests {
            requests.entry(&request.job).or_default().push(request);
        }
        for requests in requests.values_mut() {
            requests.sort_by_key(|request| request.began);
        }
        Self {
            history,
            rows,
            requests,
        }
    }

    fn rows_of(&self, job: &str) -> &[&'a Row] {
        self.rows.get(job).map_or(&[], Vec::as_slice)
    }

    fn requests_of(&self, job: &str) -> &[&'a Request] {
        self.requests.get(job).map_or(&[], Vec::as_slice)
    }
}

fn violation(kind: Kind, job: &str, what: impl Into<String>, rows: &[&Row]) -> Violation {
    Violation {
        kind,
        job: job.to_owned(),
        what: what.into(),
        evidence: rows.iter().map(ToString::to_string).collect(),
    }
}

/// A time in which the id of a job had one key: between being added, or replaced with another schedule, and its end.
#[derive(Clone, Copy, Debug)]
struct Life {
    begin: Window,
    /// When it ended, if it did.
    end: Option<Window>,
    /// It may have gone on under the same key: whether a change of a date begins another life depends on what was decided.
    may_go_on: bool,
}

/// The lives of a job, in order.
fn lives(job: &JobHistory) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    let mut before: Option<&Snapshot> = None;
    for step in &job.steps {
        let renewed = match (before, &step.after, step.verb) {
            (None, Some(_), _) => true,
            (Some(old), Some(new), Verb::Replace { .. }) => old.trigger != new.trigger,
            (Some(old), Some(new), Verb::SetTrigger) => {
                old.trigger != new.trigger && (old.is_date() || new.is_date())
            }
            _ => false,
        };
        if before.is_some()
            && (renewed || step.after.is_none())
            && let Some(life) = lives.last_mut()
        {
            life.end = Some(step.window);
            life.may_go_on = step.verb == Verb::SetTrigger && step.after.is_some();
        }
        let hidden = step.may_hide_a_schedule();
        if renewed || hidden {
            lives.push(Life {
                begin: step.window,
                end: hidden.then_some(step.window),
                may_go_on: hidden,
            });
        }
        before = step.after.as_ref();
    }
    lives
}

/// The most instances that may have been allowed at `at`.
fn max_instances(job: &JobHistory, at: Micros) -> u32 {
    let mut most = 0;
    for (index, step) in job.steps.iter().enumerate() {
        let until = job
            .steps
            .get(index + 1)
            .map_or(Micros::MAX, |next| next.window.to);
        if let Some(after) = &step.after
            && step.window.from <= at
            && at <= until
        {
            most = most.max(after.max_instances);
        }
    }
    // Runs of a job that is gone go on, and no others start beside them.
    if most == 0 {
        most = job
            .steps
            .iter()
            .filter_map(|step| step.after.as_ref())
            .map(|after| after.max_instances)
            .max()
            .unwrap_or(1);
    }
    most
}

/// The spans, in order of their begin, that are more at once than `limit` allows at that begin; each with those that
/// were still open.
fn crowds<'a, T>(
    spans: &[(Micros, Micros, &'a T)],
    limit: impl Fn(Micros) -> u32,
) -> Option<(Micros, Vec<&'a T>)> {
    let mut spans = spans.to_vec();
    spans.sort_by_key(|&(from, _, _)| from);
    let mut open: Vec<(Micros, &'a T)> = Vec::new();
    for (from, to, what) in spans {
        open.retain(|&(until, _)| until > from);
        open.push((to, what));
        if open.len() > limit(from) as usize {
            return Some((from, open.into_iter().map(|(_, what)| what).collect()));
        }
    }
    None
}
