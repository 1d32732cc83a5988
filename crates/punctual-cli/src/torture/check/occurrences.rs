//! Every occurrence is decided, and decided once.

use std::collections::{BTreeMap, BTreeSet};

use punctual_core::run::RunKind;
use punctual_trigger::Schedule;

use super::{Facts, violation};
use crate::torture::history::{
    JobHistory, Kind, Micros, Paused, Row, Snapshot, Verb, Violation, Window, shown,
};

/// More occurrences of one schedule than any run of torture has.
const OCCURRENCES_MAX: usize = 1_000_000;

pub(super) fn check(
    facts: &Facts<'_>,
    id: &str,
    job: &JobHistory,
    rows: &[&Row],
    found: &mut Vec<Violation>,
) {
    let scheduled: Vec<&Row> = rows
        .iter()
        .copied()
        .filter(|row| row.kind == RunKind::Scheduled)
        .collect();
    let epochs = epochs(id, job, facts.history.lag, found);
    decided_once(id, &epochs, &scheduled, found);
    let decided = Decided::of(&scheduled);
    for epoch in &epochs {
        none_missing(facts, id, epoch, &decided, found);
    }
    let hidden: Vec<Window> = job
        .steps
        .iter()
        .filter(|step| step.may_hide_a_schedule())
        .map(|step| step.window)
        .collect();
    no_phantoms(id, &epochs, &hidden, &scheduled, found);
    counts_hold(id, &epochs, &scheduled, found);
}

/// A time in which a job had one schedule.
#[derive(Debug)]
struct Epoch<'a> {
    snapshot: &'a Snapshot,
    begin: Window,
    /// A run time that somebody asked for, right before the schedule's.
    extra: Option<Micros>,
    /// A moment in it may have become an occurrence, whatever the schedule says.
    loose: Option<Window>,
    end: End,
    /// From when it is undecided because it was paused to its end.
    paused_from: Option<Micros>,
}

/// A pause that was not seen to end.
#[derive(Clone, Copy, Debug)]
struct Pause {
    from: Micros,
    until: Option<Micros>,
}

impl Pause {
    fn lasts_to(self, at: Micros) -> bool {
        self.until.is_none_or(|until| until >= at)
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// Its schedule was changed, or its job removed.
    Cut(Window),
    /// Its job went when nothing was left to run; seen gone then.
    Exhausted(Window),
    /// It goes on after the history; the next occurrence is due then, if one is left.
    Open(Option<Micros>),
}

impl Epoch<'_> {
    fn last(&self) -> Micros {
        match self.end {
            End::Cut(window) | End::Exhausted(window) => window.to,
            End::Open(_) => Micros::MAX,
        }
    }

    fn may_hold(&self, at: Micros) -> bool {
        if self.extra == Some(at)
            || self
                .loose
                .is_some_and(|loose| loose.from <= at && at <= loose.to)
        {
            return true;
        }
        // A date that lies in the past is judged once. "Now" still counts.
        let begun = self.snapshot.is_date() || at >= self.begin.from - 1;
        begun && at <= self.last() && is_fire(&self.snapshot.schedule, at)
    }
}

fn is_fire(schedule: &Schedule, at: Micros) -> bool {
    schedule.last_at_or_before_micros(at) == Ok(Some(at))
}

fn epochs<'a>(
    id: &str,
    job: &'a JobHistory,
    lag: Micros,
    found: &mut Vec<Violation>,
) -> Vec<Epoch<'a>> {
    let mut epochs: Vec<Epoch<'a>> = Vec::new();
    let mut before: Option<&Snapshot> = None;
    let mut paused: Option<Pause> = None;
    for step in &job.steps {
        let after = step.after.as_ref();
        let changed = match (before, after) {
            (Some(old), Some(new)) => match step.verb {
                Verb::SetNextRun(_) => true,
                Verb::SetTrigger => old.trigger != new.trigger,
                Verb::Replace { same_trigger } => {
                    let other = old.trigger != new.trigger;
                    if other && same_trigger {
                        let what = format!(
                            "replacing it with the same trigger in {} made {} of {}",
                            step.window, new.trigger, old.trigger
                        );
                        found.push(violation(Kind::JobChanged, id, what, &[]));
                    }
                    other
                }
                _ if old.trigger != new.trigger => {
                    let what = format!(
                        "{:?} in {} made {} of {}",
                        step.verb, step.window, new.trigger, old.trigger
                    );
                    found.push(violation(Kind::JobChanged, id, what, &[]));
                    true
                }
                _ => false,
            },
            (before, after) => before.is_some() != after.is_some(),
        };
        if changed {
            if let (Some(epoch), Some(_)) = (epochs.last_mut(), before) {
                epoch.paused_from = paused
                    .filter(|pause| pause.lasts_to(step.window.from - lag))
                    .map(|pause| pause.from);
                epoch.end = match (after, step.verb) {
                    (Some(_), _) | (None, Verb::Remove) => End::Cut(step.window),
                    (None, _) if step.may_hide_a_schedule() => End::Cut(step.window),
                    (None, _) => End::Exhausted(step.window),
                };
                if let End::Exhausted(window) = epoch.end {
                    exhausted(id, epoch, window, found);
                }
            }
            if let Some(snapshot) = after {
                epochs.push(begun(step.window, step.verb, step.certain, snapshot));
            }
        }
        paused = match after.and_then(|after| after.paused) {
            // A pause that is renewed began when it first was asked for, unless it had ended by itself before.
            Some(Paused { until }) => paused
                .filter(|pause: &Pause| pause.lasts_to(step.window.from - lag))
                .map(|pause| Pause { until, ..pause })
                .or(Some(Pause {
                    from: step.window.from,
                    until,
                })),
            None => None,
        };
        before = after;
    }
    if let (Some(epoch), Some(snapshot)) = (epochs.last_mut(), before) {
        epoch.paused_from = paused.map(|pause| pause.from);
        epoch.end = End::Open(snapshot.next_run);
    }
    epochs
}

fn begun(window: Window, verb: Verb, certain: bool, snapshot: &Snapshot) -> Epoch<'_> {
    let mut epoch = Epoch {
        snapshot,
        begin: window,
        extra: None,
        loose: None,
        end: End::Open(None),
        paused_from: None,
    };
    if let Verb::SetNextRun(at) = verb {
        if certain && at > window.to {
            // The schedule goes on from there, and what lies before is passed over.
            epoch.begin = Window { from: at, to: at };
            epoch.extra = Some(at);
        } else {
            let until = window.to.max(at);
            epoch.begin.to = until;
            epoch.loose = Some(Window {
                from: window.from.min(at),
                to: until,
            });
        }
    }
    epoch
}

/// A job may go by itself only when its schedule has no occurrence left.
fn exhausted(id: &str, epoch: &Epoch<'_>, window: Window, found: &mut Vec<Violation>) {
    if let Ok(Some(next)) = epoch.snapshot.schedule.next_after_micros(window.to) {
        let what = format!(
            "it is gone in {window}, nobody removed it, and it would run next at {}",
            shown(next)
        );
        found.push(violation(Kind::JobChanged, id, what, &[]));
    }
}

/// What is decided: moments with rows of their own, and the spans of summary rows.
struct Decided {
    moments: BTreeSet<Micros>,
    spans: Vec<(Micros, Micros)>,
}

impl Decided {
    fn of(rows: &[&Row]) -> Self {
        Self {
            moments: rows.iter().map(|row| row.scheduled_at).collect(),
            spans: rows
                .iter()
                .filter(|row| row.count > 1)
                .map(|row| (row.scheduled_at, row.until()))
                .collect(),
        }
    }

    fn holds(&self, at: Micros) -> bool {
        self.moments.contains(&at)
            || self
                .spans
                .iter()
                .any(|&(from, until)| from <= at && at <= until)
    }
}

/// Decisions go forward: before the last one that was made nothing is left out, and what comes after it is not older
/// than the lag.
fn none_missing(
    facts: &Facts<'_>,
    id: &str,
    epoch: &Epoch<'_>,
    decided: &Decided,
    found: &mut Vec<Violation>,
) {
    let schedule = &epoch.snapshot.schedule;
    let jitter = schedule
        .jitter()
        .map_or(0, |jitter| jitter.as_micros() as Micros);
    let lag = facts.history.lag;
    // From when on occurrences may be undecided, and to where the schedule is looked at.
    let (undecided_from, last) = match epoch.end {
        End::Cut(window) => (window.from - lag - jitter, window.from - 1),
        // What comes later is for `exhausted` to judge.
        End::Exhausted(window) => (Micros::MAX, window.to),
        End::Open(None) if epoch.paused_from.is_none() => (Micros::MAX, Micros::MAX),
        End::Open(None) => (Micros::MAX, facts.history.end.to),
        End::Open(Some(next)) => (next - jitter, next - 1),
    };
    let undecided_from = match epoch.paused_from {
        Some(paused) => undecided_from.min(paused - lag - jitter),
        None => undecided_from,
    };
    let mut open = Vec::new();
    let mut missing = Vec::new();
    let after = if epoch.snapshot.is_date() && epoch.loose.is_none() {
        Micros::MIN
    } else {
        epoch.begin.to
    };
    let mut at = epoch.extra.or_else(|| next(schedule, after));
    for _ in 0..OCCURRENCES_MAX {
        let Some(moment) = at.filter(|&moment| moment <= last) else {
            break;
        };
        if decided.holds(moment) {
            missing.append(&mut open);
        } else {
            open.push(moment);
        }
        at = next(schedule, moment);
    }
    missing.extend(open.into_iter().filter(|&moment| moment < undecided_from));
    if !missing.is_empty() {
        let what = format!(
            "{} of {} from {} to {:?}{}",
            missing.len(),
            epoch.snapshot.trigger,
            epoch.begin,
            epoch.end,
            epoch
                .paused_from
                .map_or_else(String::new, |from| format!(", paused from {}", shown(from)))
        );
        let mut violation = violation(Kind::Missing, id, what, &[]);
        violation.evidence = missing
            .into_iter()
            .map(|at| format!("no row for {}", shown(at)))
            .collect();
        found.push(violation);
    }
    if let End::Open(Some(next)) = epoch.end
        && next < facts.history.settled
    {
        let what = format!(
            "its next occurrence was due at {} and is still not decided at {}",
            shown(next),
            shown(facts.history.end.from)
        );
        found.push(violation(Kind::Missing, id, what, &[]));
    }
}

fn next(schedule: &Schedule, after: Micros) -> Option<Micros> {
    schedule.next_after_micros(after).ok().flatten()
}

fn decided_once(id: &str, epochs: &[Epoch<'_>], rows: &[&Row], found: &mut Vec<Violation>) {
    let mut lives: BTreeMap<Micros, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let same = lives.entry(row.scheduled_at).or_default();
        if same.iter().all(|other| other.life != row.life) {
            same.push(row);
        }
    }
    // Somebody may give one date to two lives of a job.
    let dates: BTreeSet<Micros> = epochs
        .iter()
        .filter(|epoch| epoch.snapshot.is_date())
        .filter_map(|epoch| next(&epoch.snapshot.schedule, Micros::MIN))
        .collect();
    for (at, same) in &lives {
        if same.len() > 1 && !dates.contains(at) {
            let what = format!("{} was decided in two lives", shown(*at));
            found.push(violation(Kind::DecidedTwice, id, what, same));
        }
    }
    for summary in rows.iter().filter(|row| row.count > 1) {
        for row in rows {
            let inside = row.scheduled_at <= summary.until() && summary.scheduled_at <= row.until();
            if inside && row.id != summary.id && row.life == summary.life {
                let what = format!("{} has a row and is in a summary", shown(row.scheduled_at));
                found.push(violation(Kind::DecidedTwice, id, what, &[summary, row]));
            }
        }
    }
}

fn no_phantoms(
    id: &str,
    epochs: &[Epoch<'_>],
    hidden: &[Window],
    rows: &[&Row],
    found: &mut Vec<Violation>,
) {
    for row in rows {
        for at in [row.scheduled_at, row.until()] {
            let may_be_hidden = hidden.iter().any(|span| span.from <= at && at <= span.to);
            if !may_be_hidden && !epochs.iter().any(|epoch| epoch.may_hold(at)) {
                let what = format!("nothing was due at {}", shown(at));
                found.push(violation(Kind::Phantom, id, what, &[row]));
                break;
            }
        }
        let undecided = epochs.last().and_then(|epoch| match epoch.end {
            End::Open(Some(next)) if epoch.begin.to < row.scheduled_at => Some(next),
            _ => None,
        });
        if row.attempt == 1 && undecided.is_some_and(|next| row.due_at >= next) {
            let what = format!(
                "{} has a row, and is still to be decided",
                shown(row.scheduled_at)
            );
            found.push(violation(Kind::DecidedTwice, id, what, &[row]));
        }
    }
}

fn counts_hold(id: &str, epochs: &[Epoch<'_>], rows: &[&Row], found: &mut Vec<Violation>) {
    for row in rows.iter().filter(|row| row.count > 1) {
        let inside = |epoch: &&Epoch<'_>| {
            epoch.loose.is_none()
                && epoch.begin.to <= row.scheduled_at
                && match epoch.end {
                    End::Cut(window) | End::Exhausted(window) => row.until() < window.from,
                    End::Open(_) => true,
                }
        };
        let Some(epoch) = epochs.iter().find(inside) else {
            continue; // it may span a change
        };
        let counted =
            epoch
                .snapshot
                .schedule
                .count_micros(row.scheduled_at - 1, row.until(), u64::MAX);
        let extra = epoch.extra.is_some_and(|extra| {
            row.scheduled_at <= extra
                && extra <= row.until()
                && !is_fire(&epoch.snapshot.schedule, extra)
        });
        if let Ok(counted) = counted
            && counted + u64::from(extra) != row.count
        {
            let what = format!("a summary of {} that should be of {counted}", row.count);
            found.push(violation(Kind::WrongCount, id, what, &[row]));
        }
    }
}
