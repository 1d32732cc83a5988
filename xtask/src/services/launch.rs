//! One server's way from a program to a process that answers, and back.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::server::{Place, Server};
use super::state::{Folder, Keep, Running};

/// How long a server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a server may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// Starts a new server, on another port if somebody was quicker on the first.
pub(super) fn launch(server: &dyn Server, folder: &Folder, keep: Keep) -> Result<Running> {
    let found = server
        .find()
        .with_context(|| format!("not installed: {}", super::advice(server)))?;
    let program = server.build(found)?;
    let mut attempts_left = 3;
    loop {
        let place = Place::new(server)?;
        attempts_left -= 1;
        match launch_at(server, &program, &place, folder, keep) {
            Err(_) if attempts_left > 0 && place.port_is_taken() => {}
            outcome => return outcome,
        }
    }
}

fn launch_at(
    server: &dyn Server,
    program: &Path,
    place: &Place,
    folder: &Folder,
    keep: Keep,
) -> Result<Running> {
    let outcome = (|| {
        let launch = server.prepare(program, place)?;
        let log = File::create(place.log())?;
        let mut child = place
            .detached_command(program)?
            .args(&launch.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("it could not be started")?;
        let mut running = Running::new(&child, launch.url, &place.folder, keep)?;
        // At once: if we are interrupted now, `stop` still finds it.
        folder.write(server.name(), &running)?;
        match wait_until_ready(server, &running.url, &mut child) {
            Ok(told) => {
                if let Some(version) = server.version(program).or(told) {
                    running.version = version;
                }
                folder.write(server.name(), &running)?;
                Ok(running)
            }
            Err(error) => {
                running.kill();
                child.wait()?;
                folder.forget(server.name())?;
                bail!("{error:#}; the end of its log:\n{}", place.log_end())
            }
        }
    })();
    if outcome.is_err() {
        let _ = fs::remove_dir_all(&place.folder);
    }
    outcome
}

/// Asks until it answers, and returns what it tells of its version.
#[expect(clippy::disallowed_methods, reason = "it waits in real time")]
fn wait_until_ready(server: &dyn Server, url: &str, child: &mut Child) -> Result<Option<String>> {
    let began = Instant::now();
    loop {
        let answer = server.ping(url);
        // What answers at the port may be somebody else.
        if let Some(status) = child.try_wait()? {
            bail!("it ended: {status}");
        }
        match answer {
            Ok(version) => return Ok(version),
            Err(error) if began.elapsed() >= START_TIMEOUT => {
                let seconds = START_TIMEOUT.as_secs();
                return Err(error.context(format!("no answer within {seconds} s")));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Whether it answers. One that is busy is asked again: tests of somebody else may be at work on it.
pub(super) fn answers(server: &dyn Server, running: &Running) -> bool {
    (0..3).any(|_| running.is_alive() && server.ping(&running.url).is_ok())
}

/// Stops a server, by force if it must be, and removes its data.
pub(super) fn clear_away(server: &dyn Server, recorded: &Running, folder: &Folder) -> Result<()> {
    recorded.signal(server.stop_signal());
    let mut waited = Duration::ZERO;
    while recorded.is_alive() {
        if waited >= STOP_TIMEOUT {
            recorded.kill();
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
    recorded.remove_data()?;
    folder.forget(server.name())
}
