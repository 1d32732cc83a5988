//! The ledger tells what the receiver saw.

use std::collections::BTreeMap;

use punctual_core::run::RunState;

use super::{Facts, crowds, max_instances, violation};
use crate::torture::history::{JobHistory, Kind, Micros, Request, Row, Violation, shown};

pub(super) fn check(
    facts: &Facts<'_>,
    id: &str,
    job: &JobHistory,
    rows: &[&Row],
    found: &mut Vec<Violation>,
) {
    let mut by_attempt: BTreeMap<(&str, u64), Vec<&Request>> = BTreeMap::new();
    for request in facts.requests_of(id) {
        by_attempt
            .entry((&request.key, request.fence))
            .or_default()
            .push(request);
    }
    let row_of = |request: &Request| {
        rows.iter()
            .copied()
            .find(|row| row.key == request.key && row.fence == request.fence)
    };
    for ((key, fence), requests) in &by_attempt {
        let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.key == *key).collect();
        if requests.len() > 1 {
            let what = format!(
                "the receiver was called {} times with fence {fence}",
                requests.len()
            );
            found.push(with_requests(
                violation(Kind::StartedTwice, id, what, &rows),
                requests,
            ));
        }
        if row_of(requests[0]).is_none() {
            let what = format!("no row has fence {fence} of {key}");
            found.push(with_requests(
                violation(Kind::UnknownStart, id, what, &rows),
                requests,
            ));
        }
    }
    if job.profile.http {
        results_hold(id, rows, &by_attempt, found);
    }
    let mut certain: Vec<(Micros, Micros, &Request)> = Vec::new();
    for request in facts.requests_of(id) {
        if row_of(request).is_some_and(is_over_with_its_request) {
            certain.push((request.began, request.ended, request));
        }
    }
    if let Some((at, crowd)) = crowds(&certain, |at| max_instances(job, at)) {
        let what = format!("{} requests at once at {}", crowd.len(), shown(at));
        found.push(with_requests(
            violation(Kind::MaxInstances, id, what, &[]),
            &crowd,
        ));
    }
    no_overlap_of_attempts(facts, id, rows, found);
}

/// Whether the run cannot be over before its request is: it was neither lost nor stopped.
fn is_over_with_its_request(row: &Row) -> bool {
    !row.superseded && matches!(row.state, RunState::Succeeded | RunState::Failed)
}

fn with_requests(mut violation: Violation, requests: &[&Request]) -> Violation {
    violation
        .evidence
        .extend(requests.iter().map(ToString::to_string));
    violation
}

/// A result is that of the attempt which has the row's fence, and of no other.
fn results_hold(
    id: &str,
    rows: &[&Row],
    requests: &BTreeMap<(&str, u64), Vec<&Request>>,
    found: &mut Vec<Violation>,
) {
    for row in rows {
        let seen = requests
            .get(&(row.key.as_str(), row.fence))
            .map_or(&[][..], Vec::as_slice);
        let answered_well = seen
            .iter()
            .any(|request| request.status.is_some_and(|status| status < 300));
        let wrong = match row.state {
            RunState::Succeeded => !answered_well,
            RunState::Failed => answered_well,
            _ => false,
        };
        if wrong {
            let what = format!("the ledger says {} for fence {}", row.state, row.fence);
            found.push(with_requests(
                violation(Kind::WrongResult, id, what, &[row]),
                seen,
            ));
        }
    }
}

/// Two requests with one key at once: only where the owner of the first had lost it, or was asked to stop.
fn no_overlap_of_attempts(facts: &Facts<'_>, id: &str, rows: &[&Row], found: &mut Vec<Violation>) {
    let mut by_key: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    for request in facts.requests_of(id) {
        by_key.entry(&request.key).or_default().push(request);
    }
    for (key, mut requests) in by_key {
        requests.sort_by_key(|request| request.fence);
        for pair in requests.windows(2) {
            let [former, next] = pair else { continue };
            let row = rows
                .iter()
                .find(|row| row.key == key && row.fence == former.fence);
            if next.began < former.ended && row.is_some_and(|row| is_over_with_its_request(row)) {
                let what = format!(
                    "fence {} began before fence {} was over",
                    next.fence, former.fence
                );
                let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.key == key).collect();
                found.push(with_requests(
                    violation(Kind::AttemptOverlap, id, what, &rows),
                    &[former, next],
                ));
            }
        }
    }
}
