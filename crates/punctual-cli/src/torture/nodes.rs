//! The nodes: this same binary as processes of their own, which are killed, frozen and restarted.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Method;
use punctual_core::clock::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::api::Api;
use super::history::{Kind, Micros, NodeLife, Violation, Window};
use crate::exit::{Failure, Outcome};

/// How long a node may take to start, and to end once it was told to.
const PATIENCE: Duration = Duration::from_secs(40);

/// What all nodes have in common.
#[derive(Debug)]
pub(crate) struct NodeOptions {
    pub(crate) store: String,
    pub(crate) store_prefix: Option<String>,
    pub(crate) lease: Duration,
    pub(crate) token: String,
    /// For their logs.
    pub(crate) folder: PathBuf,
}

/// How much was done to the nodes.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) kills: AtomicUsize,
    pub(crate) freezes: AtomicUsize,
    pub(crate) restarts: AtomicUsize,
    pub(crate) outages: AtomicUsize,
}

/// A process, and where it answers.
#[derive(Debug)]
struct Process {
    child: Child,
    node: String,
    base: String,
}

/// What can be seen of a slot without waiting for who changes it.
#[derive(Clone, Debug, Default)]
struct Seen {
    base: Option<String>,
    healthy: bool,
}

/// A place for a node, which may be between two processes.
#[derive(Debug, Default)]
struct Slot {
    process: tokio::sync::Mutex<Option<Process>>,
    seen: Mutex<Seen>,
    started: AtomicUsize,
}

/// All nodes.
#[derive(Debug)]
pub(crate) struct Cluster {
    options: NodeOptions,
    slots: Vec<Slot>,
    lives: Mutex<BTreeMap<String, NodeLife>>,
    broken: Mutex<Vec<Violation>>,
    pub(crate) counts: Counts,
}

/// This program, even where its file was replaced since it was started.
fn program() -> std::io::Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() {
        return Ok(own.to_owned());
    }
    std::env::current_exe()
}

fn now() -> Micros {
    SystemClock.now().as_microsecond()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// No process runs yet.
    pub(crate) fn new(options: NodeOptions, nodes: usize) -> Arc<Self> {
        Arc::new(Self {
            options,
            slots: (0..nodes).map(|_| Slot::default()).collect(),
            lives: Mutex::default(),
            broken: Mutex::default(),
            counts: Counts::default(),
        })
    }

    /// Starts all nodes at once.
    pub(crate) async fn start_all(self: &Arc<Self>) -> Outcome {
        self.all(|cluster, slot| async move { cluster.start(slot).await })
            .await
    }

    /// Stops all nodes at once, gracefully.
    pub(crate) async fn stop_all(self: &Arc<Self>) -> Outcome {
        self.all(|cluster, slot| async move {
            cluster.terminate(slot).await;
            Ok(())
        })
        .await
    }

    async fn all<F>(self: &Arc<Self>, act: impl Fn(Arc<Self>, usize) -> F) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let tasks: Vec<_> = (0..self.slots.len())
            .map(|slot| tokio::spawn(act(Arc::clone(self), slot)))
            .collect();
        for task in tasks {
            task.await.map_err(Failure::plain)??;
        }
        Ok(())
    }

    /// The addresses of nodes that answer, as far as known; frozen ones only where `frozen` says so.
    pub(crate) fn bases(&self, frozen: bool) -> Vec<String> {
        self.slots
            .iter()
            .map(|slot| lock(&slot.seen).clone())
            .filter(|seen| seen.healthy || frozen)
            .filter_map(|seen| seen.base)
            .collect()
    }

    /// The slots that nothing is being done to.
    pub(crate) fn healthy(&self) -> Vec<usize> {
        (0..self.slots.len())
            .filter(|&slot| lock(&self.slots[slot].seen).healthy)
            .collect()
    }

    /// How many slots there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What happened to each node, and what went wrong with one.
    pub(crate) fn report(&self) -> (BTreeMap<String, NodeLife>, Vec<Violation>) {
        (lock(&self.lives).clone(), lock(&self.broken).clone())
    }

    fn note(&self, what: impl Into<String>) {
        lock(&self.broken).push(Violation {
            kind: Kind::Node,
            job: String::new(),
            what: what.into(),
            evidence: Vec::new(),
        });
    }

    fn with_life(&self, node: &str, change: impl FnOnce(&mut NodeLife)) {
        change(lock(&self.lives).entry(node.to_owned()).or_default());
    }

    /// Starts a process in a slot that has none.
    pub(crate) async fn start(&self, slot: usize) -> Outcome {
        let place = &self.slots[slot];
        let mut held = place.process.lock().await;
        let number = place.started.fetch_add(1, Ordering::SeqCst) + 1;
        let name = format!("node-{}-{number}.log", slot + 1);
        let process = match timeout(PATIENCE, self.spawn(&name)).await {
            Ok(process) => process?,
            Err(_) => {
                return Err(Failure::plain(format!(
                    "a node did not start within {} s; {name} says more",
                    PATIENCE.as_secs()
                )));
            }
        };
        self.with_life(&process.node, |_| ());
        *lock(&place.seen) = Seen {
            base: Some(process.base.clone()),
            healthy: true,
        };
        *held = Some(process);
        Ok(())
    }

    async fn spawn(&self, log: &str) -> Outcome<Process> {
        let NodeOptions {
            store,
            store_prefix,
            lease,
            token,
            folder,
        } = &self.options;
        let failed =
            |error: std::io::Error| Failure::plain(format!("no node can be started: {error}"));
        let mut command = Command::new(program().map_err(failed)?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PUNCTUAL_") {
                command.env_remove(name);
            }
        }
        let lease = format!("{}ms", lease.as_millis());
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--allow-private-http"])
            .args(["--timezone", "UTC", "--lease", &lease])
            // Not as an argument: it may hold a password, and arguments are for all to see.
            .env("PUNCTUAL_STORE", store)
            .env("PUNCTUAL_TOKEN", token)
            .env("PUNCTUAL_LOG", "info")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join(log)).map_err(failed)?)
            .kill_on_drop(true);
        if let Some(prefix) = store_prefix {
            command.env("PUNCTUAL_STORE_PREFIX", prefix);
        }
        let mut child = command.spawn().map_err(failed)?;
        let out = child
            .stdout
            .take()
            .ok_or_else(|| Failure::plain("a node has no stdout"))?;
        let line = BufReader::new(out)
            .lines()
            .next_line()
            .await
            .map_err(failed)?;
        let Some(base) = line
            .as_deref()
            .and_then(|line| line.strip_prefix("listening on "))
        else {
            let text = std::fs::read_to_string(folder.join(log)).unwrap_or_default();
            return Err(Failure::plain(format!(
                "a node did not start; it said: {}",
                text.trim_end()
            )));
        };
        let base = base.to_owned();
        let api = Api::new(token);
        loop {
            if let Ok(answer) = api.ask(&base, Method::GET, "/readyz", None).await
                && answer.status == 200
            {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        let shown = api
            .ask(&base, Method::GET, "/scheduler", None)
            .await
            .map_err(Failure::plain)?;
        let Some(node) = shown.body["node"].as_str().map(str::to_owned) else {
            return Err(Failure::plain(format!(
                "a node does not say who it is: {}",
                shown.body
            )));
        };
        Ok(Process { child, node, base })
    }

    fn seen(&self, slot: usize, change: impl FnOnce(&mut Seen)) {
        change(&mut lock(&self.slots[slot].seen));
    }

    /// Takes a slot for a fault, so that no other is done to it.
    pub(crate) fn reserve(&self, slot: usize) {
        self.seen(slot, |seen| seen.healthy = false);
    }

    /// SIGKILL; a moment later another process takes the slot.
    pub(crate) async fn kill(&self, slot: usize, down: Duration) -> Outcome {
        self.seen(slot, |seen| seen.healthy = false);
        let held = self.slots[slot].process.lock().await.take();
        if let Some(mut process) = held {
            self.counts.kills.fetch_add(1, Ordering::SeqCst);
            let from = now();
            // Known before it happens: what follows from it must find it.
            self.with_life(&process.node, |life| {
                life.killed = Some(Window { from, to: from });
            });
            let killed = process.child.kill().await;
            let to = now();
            self.with_life(&process.node, |life| {
                life.killed = Some(Window { from, to });
            });
            if let Err(error) = killed {
                self.note(format!(
                    "node {} could not be killed: {error}",
                    process.node
                ));
            }
        }
        self.seen(slot, |seen| seen.base = None);
        sleep(down).await;
        self.start(slot).await
    }

    /// SIGSTOP, and after a while SIGCONT.
    pub(crate) async fn freeze(&self, slot: usize, duration: Duration) -> Outcome {
        self.hold(slot, duration, Some(Signal::CONT)).await;
        self.seen(slot, |seen| seen.healthy = true);
        Ok(())
    }

    /// SIGSTOP, and after a while SIGKILL: whoever asked it meanwhile never gets an answer.
    pub(crate) async fn freeze_and_kill(
        &self,
        slot: usize,
        duration: Duration,
        down: Duration,
    ) -> Outcome {
        self.hold(slot, duration, None).await;
        self.kill(slot, down).await
    }

    async fn hold(&self, slot: usize, duration: Duration, then: Option<Signal>) {
        self.seen(slot, |seen| seen.healthy = false);
        let held = self.slots[slot].process.lock().await;
        if let Some(process) = &*held {
            self.counts.freezes.fetch_add(1, Ordering::SeqCst);
            let from = now();
            self.signal(process, Signal::STOP);
            sleep(duration).await;
            if let Some(signal) = then {
                self.signal(process, signal);
            }
            let window = Window { from, to: now() };
            self.with_life(&process.node, |life| life.frozen.push(window));
        }
    }

    /// SIGTERM, wait for the end, start another.
    pub(crate) async fn restart(&self, slot: usize) -> Outcome {
        self.counts.restarts.fetch_add(1, Ordering::SeqCst);
        self.terminate(slot).await;
        self.start(slot).await
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn terminate(&self, slot: usize) {
        self.seen(slot, |seen| seen.healthy = false);
        let held = self.slots[slot].process.lock().await.take();
        if let Some(mut process) = held {
            self.signal(&process, Signal::TERM);
            match timeout(PATIENCE, process.child.wait()).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => self.note(format!(
                    "node {} ended with {status} on SIGTERM",
                    process.node
                )),
                Ok(Err(error)) => self.note(format!(
                    "node {} cannot be waited for: {error}",
                    process.node
                )),
                Err(_) => {
                    self.note(format!(
                        "node {} did not end within {} s of SIGTERM",
                        process.node,
                        PATIENCE.as_secs()
                    ));
                    let from = now();
                    self.with_life(&process.node, |life| {
                        life.killed = Some(Window { from, to: from });
                    });
                    let _ = process.child.kill().await;
                }
            }
        }
        self.seen(slot, |seen| seen.base = None);
    }

    fn signal(&self, process: &Process, signal: Signal) {
        let pid = process.child.id().and_then(|id| Pid::from_raw(id as i32));
        let sent = pid.map(|pid| kill_process(pid, signal));
        if !matches!(sent, Some(Ok(()))) {
            self.note(format!("node {} ended by itself", process.node));
        }
    }
}
