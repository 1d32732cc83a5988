//! Four processes on one store, one of them killed: what the tutorial's lock file could not do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use punctual::clock::{Clock, SystemClock};
use serde_json::Value;

use crate::place::Place;
use crate::support::{Service, Starting, let_work_last, wait_for};

/// Long enough to be killed in, and longer than what passes between two runs.
const WORK: Duration = Duration::from_millis(1500);
/// A run that began so recently goes on for a while.
const FRESH: SignedDuration = SignedDuration::from_millis(500);
/// How many due times after the killed one are looked at.
const AFTER: SignedDuration = SignedDuration::from_secs(6);
const JOBS: [(&str, &str); 2] = [
    (
        "interval",
        r#"{"task_id":"interval","interval_time":1,"trigger_type":"interval"}"#,
    ),
    (
        "cron",
        r#"{"task_id":"cron","run_time":{"second":"*"},"trigger_type":"cron"}"#,
    ),
];

/// A crash is noticed after six seconds, and every due time has a run of its own however busy the machine that tests is:
/// where the four are late, coalescing would rightly run only the latest.
const SETTINGS: &str = "lease_seconds = 6\njob_defaults = { coalesce = false, max_instances = 50 }\n\
                        executors.default = { type = 'threadpool', max_workers = 20 }";

#[derive(Clone, Copy, PartialEq)]
enum Ports {
    One,
    Four,
}

/// The processes, also those that were killed: their logs say what they started.
struct Cluster {
    living: Vec<Service>,
    dead: Vec<Service>,
}

impl Cluster {
    fn start(folder: &Path, place: &Place, ports: Ports) -> Self {
        let settings = place.write(folder, SETTINGS);
        let listen = match ports {
            Ports::Four => "127.0.0.1:0".to_owned(),
            Ports::One => {
                let free = TcpListener::bind("127.0.0.1:0").unwrap();
                free.local_addr().unwrap().to_string()
            }
        };
        let flags = [
            "--settings",
            settings.to_str().unwrap(),
            "--listen",
            &listen,
        ];
        // All at once, as a supervisor does it: they make the tables together.
        let starting: Vec<_> = (0..4).map(|_| Starting::spawn(folder, &flags)).collect();
        let living: Vec<_> = starting.into_iter().map(Starting::ready).collect();
        let addresses: BTreeSet<_> = living.iter().map(|service| &service.address).collect();
        assert_eq!(addresses.len(), if ports == Ports::One { 1 } else { 4 });
        Self {
            living,
            dead: Vec::new(),
        }
    }

    /// Kills the process that is in the middle of a run of a job; returns that run.
    fn kill_in_the_middle(&mut self, id: &str) -> Value {
        loop {
            let running = wait_for("a run that has just begun", || {
                let runs = self.living[0].runs(id);
                let found = runs.into_iter().rfind(|run| run["state"] == "running")?;
                let age = SystemClock.now().duration_since(time(&found["started_at"]));
                (age < FRESH).then_some(found)
            });
            let is_owner = |service: &Service| running["node"] == service.node();
            let victim = self.living.iter().position(is_owner);
            let mut killed = self.living.remove(victim.expect("one of them runs it"));
            killed.process.0.kill().unwrap();
            killed.process.0.wait().unwrap();
            self.dead.push(killed);
            // A dead process ends no runs, so what the ledger says now was so when it died.
            let runs = self.living[0].runs(id);
            let seen = runs.into_iter().find(|run| run["id"] == running["id"]);
            let seen = seen.expect("rows are not lost");
            if seen["state"] != "succeeded" {
                return seen;
            }
            // This machine is so busy that the run had ended before the signal came.
            assert!(self.living.len() > 2, "three are left to go on");
        }
    }

    /// What was started, as the processes themselves say: job, due time, attempt.
    fn starts(&self) -> Vec<(String, String, String)> {
        let word = |line: &str, key: &str| {
            let (_, after) = line.split_once(key).unwrap();
            after.split_whitespace().next().unwrap().to_owned()
        };
        let all = self.living.iter().chain(&self.dead);
        let logs: Vec<String> = all.map(Service::log).collect();
        let lines = logs.iter().flat_map(|log| log.lines());
        lines
            .filter(|line| line.contains("tasks: task1"))
            .map(|line| {
                (
                    word(line, "job="),
                    word(line, "scheduled_at="),
                    word(line, "attempt="),
                )
            })
            .collect()
    }
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// The runs of each due time, by attempt.
fn by_due_time(runs: &[Value]) -> BTreeMap<Timestamp, Vec<&Value>> {
    let mut found: BTreeMap<Timestamp, Vec<&Value>> = BTreeMap::new();
    for run in runs {
        found
            .entry(time(&run["scheduled_at"]))
            .or_default()
            .push(run);
    }
    for runs in found.values_mut() {
        runs.sort_by_key(|run| run["attempt"].as_u64());
    }
    found
}

/// Every second from `first` to `until`.
fn due_times(first: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
    let second = SignedDuration::from_secs(1);
    std::iter::successors(Some(first), move |at| Some(*at + second))
        .take_while(move |at| *at <= until)
}

/// Each due time has exactly one run that succeeded; what came before it was lost with the killed process.
#[track_caller]
fn check_ledger(id: &str, runs: &[Value], first: Timestamp, until: Timestamp, killed: &[String]) {
    let found = by_due_time(runs);
    let due = due_times(first, until);
    let given = found.keys().copied().filter(|at| *at <= until);
    assert!(
        due.eq(given),
        "{id}: due times are missing or made up: {runs:#?}"
    );
    for (at, runs) in found.range(..=until) {
        let attempts: Vec<u64> = runs
            .iter()
            .filter_map(|run| run["attempt"].as_u64())
            .collect();
        let numbered: Vec<u64> = (1..=runs.len() as u64).collect();
        assert_eq!(attempts, numbered, "{id} at {at}: {runs:#?}");
        let (last, before) = runs.split_last().unwrap();
        assert_eq!(last["state"], "succeeded", "{id} at {at}: {runs:#?}");
        for run in before {
            let is_killed = killed.iter().any(|node| run["node"] == *node);
            assert!(is_killed, "{id} at {at}: {runs:#?}");
            assert_eq!(run["state"], "lost", "{id} at {at}: {runs:#?}");
        }
    }
}

fn one_of_four_is_killed(place: &Place, ports: Ports) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut cluster = Cluster::start(path, place, ports);
    // Each job through another process, on one port through whichever the system chooses.
    for ((id, body), through) in JOBS.iter().zip([0, 3]) {
        let_work_last(path, id, WORK);
        cluster.living[through].add(body).ok();
    }
    let mut firsts = Vec::new();
    for (id, _) in JOBS {
        let job = cluster.living[1].ask("GET", &format!("/jobs/{id}")).ok();
        let runs = wait_for("the first runs", || {
            let runs = cluster.living[2].runs(id);
            let has_succeeded = runs.iter().any(|run| run["state"] == "succeeded");
            has_succeeded.then_some(runs)
        });
        // The first due time is the first after the job was stored, which is a little after it was made.
        let first = *by_due_time(&runs).keys().next().unwrap();
        let waited = first.duration_since(time(&job["created_at"]));
        assert!(waited < SignedDuration::from_secs(4), "{id}: {waited}");
        firsts.push(first);
    }

    let lost = cluster.kill_in_the_middle("interval");
    let killed: Vec<String> = cluster.dead.iter().map(Service::node).collect();
    let until = time(&lost["scheduled_at"]) + AFTER;
    let one = &cluster.living[0];
    for ((id, _), first) in JOBS.iter().zip(&firsts) {
        let runs = wait_for(
            &format!("every due time of {id} to have had its run"),
            || {
                let runs = one.runs(id);
                let found = by_due_time(&runs);
                let has_run = |at| {
                    found
                        .get(&at)
                        .is_some_and(|runs| runs.last().unwrap()["state"] == "succeeded")
                };
                due_times(*first, until).all(has_run).then_some(runs)
            },
        );
        check_ledger(id, &runs, *first, until, &killed);
        let nodes: BTreeSet<_> = runs.iter().filter_map(|run| run["node"].as_str()).collect();
        assert!(nodes.len() > 1, "only {nodes:?} worked on {id}");
    }
    let again = one.runs("interval");
    let again = &by_due_time(&again)[&time(&lost["scheduled_at"])];
    assert!(again.len() > 1, "the killed run was run again: {again:#?}");
    assert_eq!(again[0]["idempotency_key"], again[1]["idempotency_key"]);

    // The rest goes on as before: adding, and removing for all of them.
    let late = r#"{"task_id":"late","run_time":"2020-8-12 12:03:00","trigger_type":"date"}"#;
    one.add(late).ok();
    wait_for("a job that is added later", || {
        (cluster.living[1].runs("late").first()?["state"] == "succeeded").then_some(())
    });
    for (id, _) in JOBS {
        // Asked again after an answer that came too late, it is gone already.
        let answer = one.ask("GET", &format!("/{id}/remove"));
        assert!([200, 404].contains(&answer.status), "{answer:?}");
    }
    wait_for("the last runs", || {
        let is_live = |run: &Value| run["state"] == "running" || run["state"] == "pending";
        let mut all = JOBS.iter().flat_map(|(id, _)| one.runs(id));
        (!all.any(|run| is_live(&run))).then_some(())
    });

    // What the ledger says is what the processes did.
    let starts = cluster.starts();
    let distinct: BTreeSet<_> = starts.iter().collect();
    assert_eq!(
        distinct.len(),
        starts.len(),
        "something was started twice: {starts:#?}"
    );
    for (id, _) in JOBS {
        for run in one
            .runs(id)
            .iter()
            .filter(|run| run["state"] == "succeeded")
        {
            let start = (
                id.to_owned(),
                run["scheduled_at"].as_str().unwrap().to_owned(),
                run["attempt"].to_string(),
            );
            assert!(distinct.contains(&start), "nobody started {start:?}");
        }
    }
}

#[test]
fn on_one_port_and_sqlite() {
    if cfg!(unix) {
        one_of_four_is_killed(&Place::sqlite(), Ports::One);
    }
}

#[test]
fn on_four_ports_and_sqlite() {
    one_of_four_is_killed(&Place::sqlite(), Ports::Four);
}

#[test]
fn on_one_port_and_mysql() {
    if let Some(place) = Place::mysql().filter(|_| cfg!(unix)) {
        one_of_four_is_killed(&place, Ports::One);
    }
}

#[test]
fn on_four_ports_and_mysql() {
    if let Some(place) = Place::mysql() {
        one_of_four_is_killed(&place, Ports::Four);
    }
}
