//! What nodes wrote to their logs and should not have.

use std::path::Path;

use super::history::{Kind, Micros, NodeLife, SECOND, Violation, micros};

/// How long after the thaw of a node the others may still say what they saw while it held a lock.
const AFTER_FREEZE: Micros = 10 * SECOND;

/// The errors and panics in the logs of a folder.
///
/// A node that is frozen in the middle of a transaction holds its lock, and the others say that the store does not answer,
/// once each; the server may end the frozen node's connections, and that node says so when it goes on. `store_faults` are the spans in which that is to be expected.
pub(crate) fn faults(folder: &Path, store_faults: &[(Micros, Micros)]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    for path in files {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
        for line in text.lines().filter(|line| is_fault(line, store_faults)) {
            found.push(Violation {
                kind: Kind::Log,
                job: path.display().to_string(),
                what: line.to_owned(),
                evidence: Vec::new(),
            });
        }
    }
    found
}

/// When a frozen node can have been in the way of the others.
pub(crate) fn store_faults<'a>(nodes: impl Iterator<Item = &'a NodeLife>) -> Vec<(Micros, Micros)> {
    nodes
        .flat_map(|node| &node.frozen)
        .map(|fault| (fault.from, fault.to + AFTER_FREEZE))
        .collect()
}

fn is_fault(line: &str, store_faults: &[(Micros, Micros)]) -> bool {
    if line.contains("panicked at") {
        return true;
    }
    let mut words = line.split_whitespace();
    let (at, level) = (words.next().unwrap_or_default(), words.next());
    if level != Some("ERROR") {
        return false;
    }
    let is_of_the_store = [": trying again job_store=", "the job store is unavailable"]
        .iter()
        .any(|text| line.contains(text));
    let expected = is_of_the_store
        && micros(at).is_ok_and(|at| {
            store_faults
                .iter()
                .any(|&(from, to)| from <= at && at <= to)
        });
    !expected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_are_faults_unless_a_frozen_node_explains_them() {
        let at = micros("2026-01-01T00:00:10Z").unwrap();
        let spans = [(at, at + 5 * SECOND)];
        let away = "ERROR punctual_core::scheduler::engine: trying again job_store=default error=the store is away";
        let unanswered = "ERROR punctual_server::problem: a request could not be answered error=the job store is \
                          unavailable: Connection reset by peer";
        for (line, expected) in [
            (
                "2026-01-01T00:00:12.000000Z  INFO punctual: all is well, no ERROR here".to_owned(),
                false,
            ),
            (format!("2026-01-01T00:00:12.000000Z {away}"), false),
            (format!("2026-01-01T00:00:20.000000Z {away}"), true),
            (format!("2026-01-01T00:00:12.000000Z {unanswered}"), false),
            (format!("2026-01-01T00:00:20.000000Z {unanswered}"), true),
            (
                "2026-01-01T00:00:12.000000Z ERROR punctual_core: other".to_owned(),
                true,
            ),
            (
                "thread 'main' (7) panicked at src/x.rs:1:1:".to_owned(),
                true,
            ),
        ] {
            assert_eq!(is_fault(&line, &spans), expected, "{line}");
        }
    }
}
