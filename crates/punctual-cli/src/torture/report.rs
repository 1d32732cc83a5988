//! What people read in the end.

use std::collections::{BTreeMap, BTreeSet};

use punctual_core::run::{RunKind, RunState};

use super::history::{History, Micros, Violation};
use crate::table;

/// How many violations are shown with their evidence.
const SHOWN_MAX: usize = 40;
/// How many lines of evidence each.
const EVIDENCE_MAX: usize = 12;

/// How many occurrences the ledger has decided.
pub(crate) fn occurrences(history: &History) -> u64 {
    let mut chains = BTreeSet::new();
    history
        .rows
        .iter()
        .filter(|row| chains.insert(&row.key))
        .map(|row| row.count.max(1))
        .sum()
}

/// How late first attempts at scheduled occurrences were claimed: at this share of them, in microseconds.
fn lateness(history: &History, share: f64) -> Option<Micros> {
    let mut late: Vec<Micros> = history
        .rows
        .iter()
        .filter(|row| row.kind == RunKind::Scheduled && row.attempt == 1)
        .filter_map(|row| Some(row.started_at? - row.due_at))
        .collect();
    late.sort_unstable();
    let index = ((late.len() as f64 * share).ceil() as usize).clamp(1, late.len().max(1));
    late.get(index - 1).copied()
}

/// The table of what was done and what came of it. `more` are rows that the history does not hold.
pub(crate) fn summary(
    history: &History,
    more: &[(&str, String)],
    violations: &[Violation],
) -> String {
    let mut rows: Vec<[String; 2]> = Vec::new();
    let mut row = |what: &str, value: String| rows.push([what.to_owned(), value]);
    row("jobs", history.jobs.len().to_string());
    row("occurrences", occurrences(history).to_string());
    row("rows of the ledger", history.rows.len().to_string());
    for &state in RunState::ALL {
        let count = history.rows.iter().filter(|row| row.state == state).count();
        if count > 0 {
            row(&format!("  {state}"), count.to_string());
        }
    }
    let count = |matches: fn(&super::history::Row) -> bool| {
        history
            .rows
            .iter()
            .filter(|row| matches(row))
            .count()
            .to_string()
    };
    row("attempts after the first", count(|row| row.attempt > 1));
    row("late results refused", count(|row| row.superseded));
    row("requests received", history.requests.len().to_string());
    for (what, value) in more {
        row(what, value.clone());
    }
    for (what, share) in [
        ("lateness, median", 0.5),
        ("lateness, p99", 0.99),
        ("lateness, most", 1.0),
    ] {
        if let Some(late) = lateness(history, share) {
            row(what, format!("{:.1} ms", late as f64 / 1e3));
        }
    }
    row("violations", violations.len().to_string());
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for violation in violations {
        *kinds.entry(format!("{:?}", violation.kind)).or_default() += 1;
    }
    for (kind, count) in kinds {
        row(&format!("  {kind}"), count.to_string());
    }
    table::render(["WHAT", "COUNT"], &rows)
}

/// The violations, with what proves each.
pub(crate) fn evidence(violations: &[Violation]) -> String {
    let mut lines = Vec::new();
    for violation in violations.iter().take(SHOWN_MAX) {
        lines.push(format!(
            "{:?}: {}: {}",
            violation.kind, violation.job, violation.what
        ));
        let shown = violation.evidence.iter().take(EVIDENCE_MAX);
        lines.extend(shown.map(|line| format!("    {line}")));
        if violation.evidence.len() > EVIDENCE_MAX {
            let rest = violation.evidence.len() - EVIDENCE_MAX;
            lines.push(format!("    and {rest} more"));
        }
    }
    if violations.len() > SHOWN_MAX {
        lines.push(format!("and {} more", violations.len() - SHOWN_MAX));
    }
    lines.join("\n")
}
