//! `punctual torture`: real nodes on one store, killed, frozen and restarted, while several clients change jobs of every
//! kind; then the ledger, and what a receiver saw, are checked against every promise. `docs/torture.md` describes it.
//!
//! [`check`] is pure, from a history to the promises that it breaks; the rest makes the history.
#![cfg(unix)]

mod api;
#[cfg(test)]
mod broken;
mod check;
mod clients;
mod faults;
mod history;
mod logs;
mod nodes;
mod receiver;
mod report;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::Method;
use clap::Args;
use punctual_trigger::words;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::sleep;

use self::api::{Answer, Api, now, snapshot};
use self::clients::Journal;
use self::faults::{FROZEN_BEYOND_LEASE, Fault};
use self::history::{History, Kind, Micros, Row, Snapshot, Violation};
use self::nodes::{Cluster, NodeOptions};
use self::receiver::Receiver;
use self::workload::Spec;
use crate::exit::{Failure, Outcome};
use crate::output::{line, tell};

/// How long what runs may take to end when all is paused.
const RUNS_END_WITHIN: Duration = Duration::from_secs(20);
/// How far behind a busy machine may be, beyond the time in which a node was frozen.
const LAG: Duration = Duration::from_secs(5);

/// What to torture, and how.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct TortureArgs {
    /// The store, as for `serve`; a SQLite file has to be new or empty [default: SQLite in a temporary folder]
    #[arg(
        long,
        value_name = "URL",
        env = "PUNCTUAL_STORE",
        hide_env_values = true
    )]
    store: Option<String>,
    /// How many nodes
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,
    /// How many jobs
    #[arg(long, value_name = "COUNT", default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    jobs: u16,
    /// How long the nodes are tortured; some 15 seconds come on top to settle and to check
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// What is done to the nodes: kill, stop, restart-node, outage (all killed at once), or none
    #[arg(long, value_name = "LIST", default_value = "kill,stop,restart-node")]
    faults: String,
    /// Repeats the random choices of another time, though not its timing [default: random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// The nodes' lease, at least 2s
    #[arg(long, value_name = "DURATION", default_value = "3s")]
    lease: String,
    /// How many clients ask at once
    #[arg(long, value_name = "COUNT", default_value_t = 6, value_parser = clap::value_parser!(u16).range(0..=100))]
    clients: u16,
    /// Use a SQLite file that has something in it
    #[arg(long)]
    force: bool,
}

/// Where the data is kept.
#[derive(Debug)]
struct Place {
    /// For the nodes.
    store: String,
    /// What the names of its tables begin with, where the store is a server.
    prefix: Option<String>,
    /// Its word in the last line.
    word: &'static str,
    /// The database file that goes when all was well.
    file: Option<PathBuf>,
    /// For logs, and the database where none was given.
    folder: PathBuf,
}

/// Tortures.
///
/// # Errors
///
/// Where a promise was broken, or the torture could not be carried out.
pub(crate) fn run(args: &TortureArgs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::plain(format!("no threads could be started: {error}")))?;
    runtime.block_on(torture(args))
}

async fn torture(args: &TortureArgs) -> Outcome {
    let lease = words::duration(&args.lease)
        .ok()
        .filter(|&lease| lease >= Duration::from_secs(2))
        .ok_or_else(|| {
            Failure::usage(format!(
                "--lease: {:?} is not a duration of 2s or more",
                args.lease
            ))
        })?;
    let faults = Fault::list(&args.faults)?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let place = Place::find(args)?;
    line(format_args!(
        "torture {}: seed {seed}, {} nodes, {} jobs, {} s, faults {}; logs in {}",
        place.word,
        args.nodes,
        args.jobs,
        args.seconds,
        args.faults,
        place.folder.display()
    ))?;
    let (history, more, broken) = Torture::new(args, &place, lease, seed)
        .await?
        .go(faults)
        .await?;
    let mut violations = check::check(&history);
    violations.extend(broken);
    line(report::summary(&history, &more, &violations))?;
    conclude(&place, seed, &history, &violations)
}

fn conclude(place: &Place, seed: u64, history: &History, violations: &[Violation]) -> Outcome {
    if violations.is_empty() {
        place.clean();
    } else {
        line(report::evidence(violations))?;
        line(format_args!(
            "logs of the nodes: {}",
            place.folder.display()
        ))?;
        match (&place.file, &place.prefix) {
            (Some(file), _) => line(format_args!("data: {}", file.display()))?,
            (None, Some(prefix)) => line(format_args!("data: what begins with {prefix}"))?,
            (None, None) => {}
        }
    }
    line(format_args!("seed {seed}"))?;
    line(format_args!(
        "torture {}: {} occurrences, {} violations",
        place.word,
        report::occurrences(history),
        violations.len()
    ))?;
    if violations.is_empty() {
        return Ok(());
    }
    Err(
        Failure::plain(format!("{} promises were broken", violations.len())).hint(format!(
            "the same choices again: punctual torture --seed {seed}"
        )),
    )
}

impl Place {
    fn find(args: &TortureArgs) -> Outcome<Self> {
        let failed = |error: std::io::Error| {
            Failure::plain(format!("the temporary folder cannot be made: {error}"))
        };
        let name = format!("punctual-torture-{:08x}", fastrand::u32(..));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).map_err(failed)?;
        let Some(store) = &args.store else {
            let file = folder.join("torture.db");
            return Ok(Self {
                store: format!("sqlite:{}", file.display()),
                prefix: None,
                word: "sqlite",
                file: Some(file),
                folder,
            });
        };
        let scheme = store.split(':').next().unwrap_or_default();
        let word = match scheme {
            "sqlite" => "sqlite",
            "postgres" | "postgresql" => "postgres",
            "mysql" | "mariadb" => "mysql",
            "redis" | "rediss" => "redis",
            "mongodb" | "mongodb+srv" => "mongodb",
            _ => {
                return Err(Failure::usage(format!(
                    "--store: {scheme:?} is not a store that several processes can share; write sqlite:FILE, or the URL of a PostgreSQL, MySQL, Redis or MongoDB server"
                )));
            }
        };
        if word != "sqlite" {
            return Ok(Self {
                store: store.clone(),
                prefix: Some(format!("torture_{:08x}_", fastrand::u32(..))),
                word,
                file: None,
                folder,
            });
        }
        let path = store.trim_start_matches("sqlite:").trim_start_matches("//");
        let path = std::path::absolute(path)
            .map_err(|error| Failure::usage(format!("--store: {path:?} is not a path: {error}")))?;
        let used = std::fs::metadata(&path).is_ok_and(|file| file.len() > 0);
        if used && !args.force {
            return Err(
                Failure::usage(format!("--store: {} has something in it", path.display())).hint(
                    "name a new file; --force uses this one, and leaves jobs and runs behind in it",
                ),
            );
        }
        Ok(Self {
            store: format!("sqlite:{}", path.display()),
            prefix: None,
            word,
            // What was there before stays there.
            file: (!used).then_some(path),
            folder,
        })
    }

    /// Removes what was left on disk; what cannot be removed stays.
    fn clean(&self) {
        if let Some(file) = &self.file {
            for end in ["", "-wal", "-shm"] {
                let mut name = file.clone().into_os_string();
                name.push(end);
                let _ = std::fs::remove_file(Path::new(&name));
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A torture that is going on.
struct Torture<'a> {
    args: &'a TortureArgs,
    lease: Duration,
    seed: u64,
    folder: &'a Path,
    api: Api,
    cluster: Arc<Cluster>,
    receiver: Arc<Receiver>,
    journal: Arc<Journal>,
}

type Made = (History, Vec<(&'static str, String)>, Vec<Violation>);

impl<'a> Torture<'a> {
    async fn new(
        args: &'a TortureArgs,
        place: &'a Place,
        lease: Duration,
        seed: u64,
    ) -> Outcome<Self> {
        let token: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(48)
            .collect();
        let api = Api::new(&token);
        let options = NodeOptions {
            store: place.store.clone(),
            store_prefix: place.prefix.clone(),
            lease,
            token,
            folder: place.folder.clone(),
        };
        let cluster = Cluster::new(options, args.nodes.into());
        let receiver = Receiver::listen(seed).await?;
        let mut rng = fastrand::Rng::with_seed(seed);
        let specs = (0..args.jobs)
            .map(|number| Spec::random(&mut rng, number.into(), &receiver))
            .collect();
        let journal = Journal::new(api.clone(), Arc::clone(&cluster), specs);
        Ok(Self {
            args,
            lease,
            seed,
            folder: &place.folder,
            api,
            cluster,
            receiver,
            journal,
        })
    }

    async fn go(self, faults: Vec<Fault>) -> Outcome<Made> {
        self.cluster.start_all().await?;
        self.journal.add_all(self.seed, 8).await;
        let settled = self.torture(faults).await?;
        tell("settling");
        sleep(self.lease + Duration::from_secs(2)).await;

        let end = self.pause_all().await?;
        let running = self.wait_for_runs().await?;
        self.cluster.stop_all().await?;
        // From a node that was not there: what is read is what is stored.
        self.cluster.start(0).await?;
        tell("reading the ledger");
        let sent = now();
        let jobs = self.jobs().await?;
        let seen = (sent, now());
        let rows = self.rows().await?;
        self.cluster.stop_all().await?;
        self.made(settled, (end.sent, end.answered), jobs, seen, rows, running)
            .await
    }

    /// Lets clients and faults loose, and waits until the last of both is over. Returns when that was.
    async fn torture(&self, faults: Vec<Fault>) -> Outcome<Micros> {
        let (stop, stopped) = watch::channel(false);
        let mut clients = tokio::task::JoinSet::new();
        for client in 1..=u64::from(self.args.clients) {
            let journal = Arc::clone(&self.journal);
            clients.spawn(journal.work(self.seed.wrapping_add(client * 7919), stopped.clone()));
        }
        let cluster = Arc::clone(&self.cluster);
        let mut doing = tokio::spawn(faults::run(
            cluster,
            faults,
            self.lease,
            self.seed ^ 0xfa17,
            stopped,
        ));
        tokio::select! {
            () = sleep(Duration::from_secs(self.args.seconds)) => {}
            // Nothing but a failure ends them before.
            ended = &mut doing => {
                ended.map_err(Failure::plain)??;
                sleep(Duration::from_secs(self.args.seconds)).await;
                let _ = stop.send(true);
                clients.join_all().await;
                return Ok(now());
            }
        }
        let _ = stop.send(true);
        doing.await.map_err(Failure::plain)??;
        clients.join_all().await;
        Ok(now())
    }

    async fn ask(&self, method: Method, path: &str) -> Outcome<Answer> {
        let bases = self.cluster.bases(false);
        let base = bases
            .first()
            .ok_or_else(|| Failure::plain("no node is left"))?;
        let answer = self
            .api
            .ask(base, method, path, None)
            .await
            .map_err(Failure::plain)?;
        if answer.status >= 300 {
            return Err(Failure::plain(format!(
                "{path} was answered with {}: {}",
                answer.status, answer.body
            )));
        }
        Ok(answer)
    }

    async fn pause_all(&self) -> Outcome<Answer> {
        self.ask(Method::POST, "/scheduler/pause").await
    }

    /// Waits until nothing runs; returns what still does in the end.
    async fn wait_for_runs(&self) -> Outcome<Option<Value>> {
        let end = now() + RUNS_END_WITHIN.as_micros() as Micros;
        loop {
            let answer = self
                .ask(Method::GET, "/scheduler/runs?state=running&limit=1000")
                .await?;
            if answer.body["items"].as_array().is_some_and(Vec::is_empty) {
                return Ok(None);
            }
            if now() > end {
                return Ok(Some(answer.body));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn jobs(&self) -> Outcome<BTreeMap<String, Snapshot>> {
        let answer = self.ask(Method::GET, "/scheduler/jobs").await?;
        let jobs = answer.body.as_array().cloned().unwrap_or_default();
        let ours = jobs
            .iter()
            .filter(|job| job["id"].as_str().is_some_and(is_ours));
        ours.map(|job| {
            let snapshot = snapshot(job).map_err(Failure::plain)?;
            Ok((job["id"].as_str().unwrap_or_default().to_owned(), snapshot))
        })
        .collect()
    }

    async fn rows(&self) -> Outcome<Vec<Row>> {
        let mut rows = Vec::new();
        let mut path = "/scheduler/runs?limit=1000".to_owned();
        loop {
            let answer = self.ask(Method::GET, &path).await?;
            let items = answer.body["items"].as_array().cloned().unwrap_or_default();
            for item in items
                .iter()
                .filter(|item| item["job_id"].as_str().is_some_and(is_ours))
            {
                let row =
                    Row::read(item).map_err(|error| Failure::plain(format!("{item}: {error}")))?;
                rows.push(row);
            }
            match answer.body["next_cursor"].as_str() {
                Some(cursor) => {
                    path = format!(
                        "/scheduler/runs?limit=1000&cursor={}",
                        punctual_server::encode(cursor)
                    );
                }
                None => return Ok(rows),
            }
        }
    }

    async fn made(
        &self,
        settled: Micros,
        end: (Micros, Micros),
        jobs: BTreeMap<String, Snapshot>,
        seen: (Micros, Micros),
        rows: Vec<Row>,
        running: Option<Value>,
    ) -> Outcome<Made> {
        let window = |from, to| self.journal.window(from, to);
        let (mut nodes, mut broken) = self.cluster.report();
        broken.extend(self.journal.broken());
        if let Some(running) = running {
            broken.push(Violation {
                kind: Kind::Unfinished,
                job: String::new(),
                what: format!(
                    "runs went on for {} s after all was paused",
                    RUNS_END_WITHIN.as_secs()
                ),
                evidence: vec![running.to_string()],
            });
        }
        let store_faults = logs::store_faults(nodes.values());
        broken.extend(logs::faults(self.folder, &store_faults));
        for node in nodes.values_mut() {
            for fault in node.frozen.iter_mut().chain(&mut node.killed) {
                *fault = window(fault.from, fault.to);
            }
        }
        let mut requests = self.receiver.requests();
        for request in &mut requests {
            request.began = self.journal.offset().moved(request.began);
            request.ended = self.journal.offset().moved(request.ended);
        }
        let counts = &self.cluster.counts;
        let number =
            |count: &std::sync::atomic::AtomicUsize| count.load(Ordering::SeqCst).to_string();
        let more = vec![
            ("kills", number(&counts.kills)),
            ("freezes", number(&counts.freezes)),
            ("restarts", number(&counts.restarts)),
            ("outages", number(&counts.outages)),
            ("operations", number(&self.journal.asked)),
            (
                "operations without an answer",
                number(&self.journal.unanswered),
            ),
            (
                "the store's clock, to ours",
                self.journal.offset().describe(),
            ),
        ];
        let history = History {
            lease: self.lease.as_micros() as Micros,
            lag: (self.lease + FROZEN_BEYOND_LEASE + LAG).as_micros() as Micros,
            jobs: self.journal.close(&jobs, seen).await,
            rows,
            requests,
            nodes,
            settled: window(settled, settled).from,
            end: window(end.0, end.1),
        };
        Ok((history, more, broken))
    }
}

/// Whether an id is one of the workload's: a file that was in use may hold others.
fn is_ours(id: &str) -> bool {
    id.starts_with("job-")
}
