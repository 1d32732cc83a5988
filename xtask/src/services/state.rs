//! What runs where: one file for each server that was started and not yet stopped.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};
use serde::{Deserialize, Serialize};

/// The folder of those files.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

/// A server that was started by us.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) url: String,
    pub(super) pid: i32,
    /// When the process began, as the system tells it: a process with the same id may be another one.
    began: String,
    pub(super) version: String,
    /// Where its data and its log are. Removed when it is stopped.
    pub(super) folder: PathBuf,
    pub(super) keep: Keep,
}

/// How long a server is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Keep {
    /// Somebody started it by hand.
    UntilStopped,
    /// Tests started it.
    WhileTestsRun,
}

impl Folder {
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path)
            .with_context(|| format!("the folder {} cannot be made", path.display()))?;
        Ok(Self(path))
    }

    /// Waits until nobody else starts or stops servers here; until the file is dropped, nobody does.
    pub(super) fn lock(&self) -> Result<File> {
        let file = self.create("lock")?;
        file.lock().context("the lock of the services")?;
        Ok(file)
    }

    /// Until the file is dropped, tests run on the servers.
    pub(super) fn use_for_tests(&self) -> Result<File> {
        let file = self.create("tests")?;
        file.lock_shared().context("the lock of the tests")?;
        Ok(file)
    }

    /// `None` while tests run on the servers; else none begin until the file is dropped.
    pub(super) fn try_alone(&self) -> Result<Option<File>> {
        let file = self.create("tests")?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).context("the lock of the tests"),
        }
    }

    fn create(&self, name: &str) -> Result<File> {
        let path = self.0.join(name);
        File::create(&path).with_context(|| format!("{} cannot be written", path.display()))
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<Running>> {
        let path = self.file(name);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).with_context(|| {
                let path = path.display();
                format!("{path} is damaged: remove it, and look whether the server still runs")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }

    pub(super) fn write(&self, name: &str, running: &Running) -> Result<()> {
        let path = self.file(name);
        // Moved into place, so that `status` never reads half a file.
        let draft = path.with_extension("draft");
        fs::write(&draft, serde_json::to_vec_pretty(running)?)
            .and_then(|()| fs::rename(&draft, &path))
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    pub(super) fn forget(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.file(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name).with_extension("json")
    }
}

impl Running {
    pub(super) fn new(child: &Child, url: String, folder: &Path, keep: Keep) -> Result<Self> {
        let pid = child.id() as i32;
        Ok(Self {
            url,
            pid,
            began: began(pid).context("it ended at once")?,
            version: "version unknown".to_owned(),
            folder: folder.to_owned(),
            keep,
        })
    }

    /// Whether that very process is still there.
    pub(super) fn is_alive(&self) -> bool {
        began(self.pid).as_ref() == Some(&self.began)
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_alive()) {
            // It may end by itself in this moment, which is what is wanted.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it and its children without their consent.
    pub(super) fn kill(&self) {
        if let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_alive()) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    pub(super) fn remove_data(&self) -> Result<()> {
        let name = self.folder.file_name().unwrap_or_default();
        if !name.to_string_lossy().starts_with("punctual-") {
            bail!("{} was not made here: left alone", self.folder.display());
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} cannot be removed", self.folder.display()))
            }
            _ => Ok(()),
        }
    }
}

/// The moment a process began, in words that no other process of this machine ever gets. `None`: there is no such process.
fn began(pid: i32) -> Option<String> {
    test_kill_process(Pid::from_raw(pid)?)
        .or_else(|error| match error {
            // It is there, and somebody else's.
            rustix::io::Errno::PERM => Ok(()),
            other => Err(other),
        })
        .ok()?;
    let Ok(boot) = fs::read_to_string("/proc/sys/kernel/random/boot_id") else {
        return began_by_ps(pid);
    };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything: the state, and 19 fields later the ticks from boot to start.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // Ended, and nobody has asked for its exit code: in a container that can stay so for ever.
    if fields.first() == Some(&"Z") {
        return None;
    }
    Some(format!("{} {}", boot.trim(), fields.get(19)?))
}

fn began_by_ps(pid: i32) -> Option<String> {
    let output = Command::new("ps")
        .args(["-o", "lstart=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_more_than_its_id() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let url = "redis://127.0.0.1:1/0".to_owned();
        let running = Running::new(&child, url, Path::new("/"), Keep::UntilStopped).unwrap();
        assert!(running.is_alive());

        let mut earlier = running.clone();
        earlier.began.insert(0, '0');
        assert!(!earlier.is_alive(), "its id was given to another process");
        earlier.signal(Signal::KILL);
        assert!(running.is_alive(), "which was left alone");

        running.signal(Signal::KILL);
        // Ended, but not yet waited for: gone all the same.
        while running.is_alive() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }

    #[test]
    fn only_folders_of_servers_are_removed() {
        let precious = tempfile::tempdir().unwrap();
        let running = Running {
            url: String::new(),
            pid: 1,
            began: String::new(),
            version: String::new(),
            folder: precious.path().to_owned(),
            keep: Keep::UntilStopped,
        };
        assert!(running.remove_data().is_err());
        assert!(precious.path().exists());
    }

    #[test]
    fn the_last_of_several_test_runs_is_alone() {
        let path = tempfile::tempdir().unwrap();
        let folder = Folder::open(path.path().to_owned()).unwrap();
        let one = folder.use_for_tests().unwrap();
        let other = folder.use_for_tests().unwrap();
        drop(one);
        assert!(folder.try_alone().unwrap().is_none());
        drop(other);
        assert!(folder.try_alone().unwrap().is_some());
    }
}
