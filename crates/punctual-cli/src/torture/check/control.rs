//! What people asked for holds: pauses, removals, the number of instances; and no run is lost without a reason.

use std::collections::{BTreeMap, BTreeSet};

use punctual_core::run::{Reason, RunState};

use super::{Facts, Life, crowds, max_instances, violation};
use crate::torture::history::{
    JobHistory, Kind, Micros, Paused, Row, SECOND, Verb, Violation, Window, shown,
};

pub(super) fn check(
    facts: &Facts<'_>,
    id: &str,
    job: &JobHistory,
    rows: &[&Row],
    lives: &[Life],
    found: &mut Vec<Violation>,
) {
    pauses_hold(facts, id, job, rows, found);
    removals_hold(id, rows, lives, found);
    instances(facts, id, job, rows, found);
    skips(facts, id, job, rows, found);
    for row in rows.iter().filter(|row| row.state == RunState::Lost) {
        lost_for_a_reason(facts, id, row, found);
    }
}

/// The spans in which the job was surely paused: from the acknowledgement on, up to the request that ended it.
fn pauses(job: &JobHistory) -> Vec<Window> {
    let mut spans = Vec::new();
    for (index, step) in job.steps.iter().enumerate() {
        let Some(Paused { until }) = step.after.as_ref().and_then(|after| after.paused) else {
            continue;
        };
        let next = job.steps.get(index + 1).map_or(Micros::MAX, |next| {
            let stays = next
                .after
                .as_ref()
                .is_some_and(|after| after.paused.is_some());
            if stays && next.verb != Verb::Resume {
                next.window.to
            } else {
                next.window.from
            }
        });
        spans.push(Window {
            from: step.window.to,
            to: until.map_or(next, |until| next.min(until)),
        });
    }
    spans
}

/// By the ledger: a start is a claim, and the claim is what a pause forbids. That the request of a run that was claimed
/// before reaches the receiver after the acknowledgement is the nature of things.
fn pauses_hold(
    facts: &Facts<'_>,
    id: &str,
    job: &JobHistory,
    rows: &[&Row],
    found: &mut Vec<Violation>,
) {
    let mut spans = pauses(job);
    spans.push(Window {
        from: facts.history.end.to,
        to: Micros::MAX,
    });
    for row in rows {
        let Some(started) = row.started_at else {
            continue;
        };
        if let Some(span) = spans
            .iter()
            .find(|span| span.from < started && started < span.to)
        {
            let what = format!(
                "it was paused from {} on, and {} started",
                shown(span.from),
                shown(started)
            );
            found.push(violation(Kind::StartedWhilePaused, id, what, &[row]));
        }
    }
}

fn removals_hold(id: &str, rows: &[&Row], lives: &[Life], found: &mut Vec<Violation>) {
    for (index, life) in lives.iter().enumerate() {
        let Some(end) = life.end.filter(|_| !life.may_go_on) else {
            continue;
        };
        let next = lives
            .get(index + 1)
            .map_or(Micros::MAX, |next| next.begin.from);
        // Keys that the ledger knew before the end.
        let keys: BTreeSet<&str> = rows
            .iter()
            .filter(|row| {
                row.started_at
                    .or(row.finished_at)
                    .is_some_and(|at| at < end.from)
            })
            .map(|row| row.life.as_str())
            .collect();
        for row in rows {
            let Some(started) = row.started_at.filter(|&started| started > end.to) else {
                continue;
            };
            if started < next || keys.contains(row.life.as_str()) {
                let what = format!(
                    "its life ended in {end}, and a run of it started at {}",
                    shown(started)
                );
                found.push(violation(Kind::StartedAfterRemoval, id, what, &[row]));
            }
        }
    }
}

/// How much a claim may take from reading the clock to reading the job.
const CLAIM_TAKES_MAX: Micros = SECOND;

/// A store may read its clock before it reads the job: then `started_at` is the moment at which the claim began, and lies a
/// little before the `finished_at` that made room for it. So a run counts from its request on, which comes after the
/// claim; where there is none (`log`, or a node that died before), from when the claim was surely over.
fn instances(
    facts: &Facts<'_>,
    id: &str,
    job: &JobHistory,
    rows: &[&Row],
    found: &mut Vec<Violation>,
) {
    let requests: BTreeMap<(&str, u64), Micros> = facts
        .requests_of(id)
        .iter()
        .rev()
        .map(|request| ((request.key.as_str(), request.fence), request.began))
        .collect();
    let begun = |row: &Row| {
        let claimed = row.started_at?;
        let began = requests.get(&(row.key.as_str(), row.fence));
        Some(began.map_or(claimed + CLAIM_TAKES_MAX, |&began| began.max(claimed)))
    };
    let spans: Vec<(Micros, Micros, &Row)> = rows
        .iter()
        .filter_map(|&row| Some((begun(row)?, row.finished_at.unwrap_or(Micros::MAX), row)))
        .filter(|(from, to, _)| from < to)
        .collect();
    if let Some((at, crowd)) = crowds(&spans, |at| max_instances(job, at)) {
        let what = format!(
            "{} instances at {}, and {} are allowed",
            crowd.len(),
            shown(at),
            max_instances(job, at)
        );
        found.push(violation(Kind::MaxInstances, id, what, &crowd));
    }
}

/// An occurrence is misfired only when it was later than its job bears, and paused only when its job was.
fn skips(facts: &Facts<'_>, id: &str, job: &JobHistory, rows: &[&Row], found: &mut Vec<Violation>) {
    for row in rows.iter().filter(|row| row.state == RunState::Skipped) {
        let decided = row.finished_at.unwrap_or(Micros::MAX);
        let fits = match row.reason {
            Some(Reason::Misfired) => job
                .profile
                .grace
                .is_some_and(|grace| decided - row.until().max(row.due_at) > grace),
            Some(Reason::Paused) => job.steps.iter().enumerate().any(|(index, step)| {
                let until = job
                    .steps
                    .get(index + 1)
                    .map_or(Micros::MAX, |next| next.window.to);
                // One whose answer was lost may be over when somebody looks.
                let hidden = step.verb == Verb::Pause && !step.certain;
                let paused = hidden
                    || step
                        .after
                        .as_ref()
                        .is_some_and(|after| after.paused.is_some());
                paused
                    && step.window.from <= decided
                    && row.scheduled_at - facts.history.lag <= until
            }),
            _ => true,
        };
        if !fits {
            let what = format!(
                "it was skipped for no reason (grace {:?})",
                job.profile.grace
            );
            found.push(violation(Kind::WrongSkip, id, what, &[row]));
        }
    }
}

fn lost_for_a_reason(facts: &Facts<'_>, id: &str, row: &Row, found: &mut Vec<Violation>) {
    let history = facts.history;
    let lost = row.finished_at.unwrap_or(Micros::MAX);
    let node = row.node.as_ref().and_then(|node| history.nodes.get(node));
    let killed = node
        .and_then(|node| node.killed)
        .filter(|killed| killed.from <= lost);
    if killed.is_some() && row.reason == Some(Reason::NodeDied) {
        return;
    }
    // The last renewal before the fault may be a third of a lease old, and late by as much again on a busy machine.
    let early = history.lease / 3 + SECOND.min(history.lease / 3);
    let started = row.started_at.unwrap_or(Micros::MIN);
    let frozen = node.into_iter().flat_map(|node| &node.frozen);
    let silent = killed
        .into_iter()
        .chain(frozen.copied().filter(|frozen| frozen.to >= started))
        .any(|fault| fault.from + history.lease - early <= lost);
    if row.reason == Some(Reason::LeaseExpired) && silent {
        return;
    }
    let faults = node.map_or_else(
        || "nothing is known of its node".to_owned(),
        |node| format!("{node:?}"),
    );
    let what = format!("lost at {} ({faults})", shown(lost));
    found.push(violation(Kind::LostWithoutFault, id, what, &[row]));
}
