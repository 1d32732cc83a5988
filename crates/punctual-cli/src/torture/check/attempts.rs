//! Attempts at an occurrence are one chain: 1, 2, 3 …, each after the one before it was over, with a higher fence.

use std::collections::BTreeMap;

use punctual_core::job::CRASH_ATTEMPTS_MAX;
use punctual_core::run::{Reason, RunKind, RunState};

use super::{Facts, Life, violation};
use crate::torture::history::{JobHistory, Kind, Micros, Row, Violation, shown};

pub(super) fn check(
    facts: &Facts<'_>,
    id: &str,
    job: &JobHistory,
    rows: &[&Row],
    lives: &[Life],
    found: &mut Vec<Violation>,
) {
    let mut chains: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        chains.entry(&row.key).or_default().push(row);
    }
    for chain in chains.values() {
        one_after_another(id, chain, found);
        goes_on(id, job, chain, lives, found);
    }
    fences_are_unique(id, rows, found);
    manual(id, job, &chains, found);
    ended(facts, id, job, rows, found);
}

fn one_after_another(id: &str, chain: &[&Row], found: &mut Vec<Violation>) {
    let gap = chain
        .iter()
        .zip(1..)
        .any(|(row, number)| row.attempt != number);
    if gap {
        let attempts: Vec<_> = chain.iter().map(|row| row.attempt.to_string()).collect();
        let what = format!("the attempts are {}", attempts.join(", "));
        found.push(violation(Kind::AttemptGap, id, what, chain));
        return;
    }
    for pair in chain.windows(2) {
        let [former, next] = pair else { continue };
        let may_be_followed = match former.state {
            RunState::Failed | RunState::TimedOut | RunState::Lost => true,
            // A node that shuts down hands its work to the next.
            RunState::Cancelled => former.reason != Some(Reason::Removed),
            _ => false,
        };
        let overlaps = match (former.finished_at, next.started_at) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(finished), Some(started)) => started < finished,
        };
        if !may_be_followed || overlaps {
            let what = format!(
                "attempt {} is {} and attempt {} follows",
                former.attempt, former.state, next.attempt
            );
            found.push(violation(Kind::AttemptOverlap, id, what, chain));
        }
        if next.fence != 0 && next.started_at.is_some() && next.fence <= former.fence {
            found.push(violation(Kind::Fence, id, "the fence did not rise", chain));
        }
    }
    for row in chain {
        if row.started_at.is_some_and(|started| started < row.due_at)
            || row.due_at < row.scheduled_at
        {
            found.push(violation(
                Kind::Early,
                id,
                "it started before it was due",
                &[row],
            ));
        }
    }
}

/// What follows the last attempt, or does not, is what the job asks for.
fn goes_on(id: &str, job: &JobHistory, chain: &[&Row], lives: &[Life], found: &mut Vec<Violation>) {
    let failed = |row: &&&Row| matches!(row.state, RunState::Failed | RunState::TimedOut);
    let lost = |row: &&&Row| row.state == RunState::Lost;
    if !job.profile.rerun
        && let Some(position) = chain.iter().position(|row| row.state == RunState::Lost)
        && position + 1 < chain.len()
    {
        let what = "a lost attempt was followed by another, though the job gives up";
        found.push(violation(Kind::WrongRetry, id, what, chain));
    }
    let failures = chain.iter().filter(failed).count();
    if failures as u32 > job.profile.attempts {
        let what = format!(
            "{failures} attempts failed, and {} are allowed",
            job.profile.attempts
        );
        found.push(violation(Kind::WrongRetry, id, what, chain));
    }
    let Some(last) = chain.last() else { return };
    let Some(finished) = last.finished_at.filter(|_| !last.cancel_requested) else {
        return;
    };
    if !lived_on(lives, last, finished) {
        return;
    }
    let another = match (last.state, last.reason) {
        (RunState::Failed | RunState::TimedOut, _) => (failures as u32) < job.profile.attempts,
        (RunState::Lost, _) => {
            job.profile.rerun && (chain.iter().filter(lost).count() as u32) < CRASH_ATTEMPTS_MAX
        }
        (RunState::Cancelled, Some(Reason::Shutdown | Reason::LeaseExpired)) => job.profile.rerun,
        _ => false,
    };
    if another {
        let what = format!(
            "attempt {} is {}, and none follows",
            last.attempt, last.state
        );
        found.push(violation(Kind::WrongRetry, id, what, chain));
    }
}

/// Whether the life that `row` belongs to surely went on after `at`.
fn lived_on(lives: &[Life], row: &Row, at: Micros) -> bool {
    let life = lives
        .iter()
        .rfind(|life| life.begin.from <= row.scheduled_at);
    life.is_some_and(|life| {
        life.begin.to < row.scheduled_at && life.end.is_none_or(|end| at < end.from)
    })
}

fn fences_are_unique(id: &str, rows: &[&Row], found: &mut Vec<Violation>) {
    let mut given: BTreeMap<u64, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.fence != 0) {
        given.entry(row.fence).or_default().push(row);
    }
    for (fence, same) in given.into_iter().filter(|(_, same)| same.len() > 1) {
        let what = format!("fence {fence} was given {} times", same.len());
        found.push(violation(Kind::Fence, id, what, &same));
    }
}

fn manual(
    id: &str,
    job: &JobHistory,
    chains: &BTreeMap<&str, Vec<&Row>>,
    found: &mut Vec<Violation>,
) {
    let mut asked = job.manual.clone();
    asked.sort_unstable();
    for pair in asked.windows(2).filter(|pair| pair[0] == pair[1]) {
        let what = format!("two that were asked for are one: {}", pair[0]);
        found.push(violation(
            Kind::Manual,
            id,
            what,
            &chains.get(pair[0].as_str()).cloned().unwrap_or_default(),
        ));
    }
    for key in &asked {
        if !chains.contains_key(key.as_str()) {
            found.push(violation(
                Kind::Manual,
                id,
                format!("{key} was acknowledged and is not in the ledger"),
                &[],
            ));
        }
    }
    let unasked: Vec<&Row> = chains
        .iter()
        .filter(|(key, chain)| {
            chain[0].kind == RunKind::Manual
                && asked
                    .binary_search_by(|asked| asked.as_str().cmp(key))
                    .is_err()
        })
        .map(|(_, chain)| chain[0])
        .collect();
    if unasked.len() > job.manual_unsure {
        let what = format!(
            "{} that nobody asked for; {} requests had no answer",
            unasked.len(),
            job.manual_unsure
        );
        found.push(violation(Kind::Manual, id, what, &unasked));
    }
}

/// In the end nothing runs, and nothing waits that could have run.
fn ended(facts: &Facts<'_>, id: &str, job: &JobHistory, rows: &[&Row], found: &mut Vec<Violation>) {
    let end = facts.history.end.from;
    let lag = facts.history.lag;
    for row in rows.iter().filter(|row| row.state == RunState::Running) {
        found.push(violation(
            Kind::Unfinished,
            id,
            "it is still running",
            &[row],
        ));
    }
    let last = job.steps.iter().rev().find_map(|step| step.after.as_ref());
    let paused = last.is_some_and(|job| job.paused.is_some());
    let last_start = rows.iter().filter_map(|row| row.started_at).max();
    let busy = rows
        .iter()
        .filter_map(|row| row.finished_at.filter(|_| row.started_at.is_some()))
        .max();
    let active = last_start.max(busy).is_some_and(|at| at > end - lag);
    for row in rows {
        if row.state == RunState::Pending && row.due_at < end - lag && !paused && !active {
            let what = format!("it could have started since {}", shown(row.due_at));
            found.push(violation(Kind::Unfinished, id, what, &[row]));
        }
    }
}
