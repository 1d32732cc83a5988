//! A lock file, for programs of which one process is to run the jobs.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A lock file that one process of a machine holds at a time. The operating system lets go of it when the process ends, however that
/// happens; the file itself stays and means nothing.
///
/// Given to [`SchedulerBuilder::single_instance`](crate::scheduler::SchedulerBuilder::single_instance) it decides which process
/// runs the jobs. Job stores that several processes can share need no such file: there each occurrence runs once anyway, whichever
/// process dies. It is for programs that want one process to run everything, and for network file systems it is not: whether
/// they honour locks is theirs to say.
///
/// ```
/// use punctual_core::single_instance::SingleInstance;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("jobs.lock");
/// let first = SingleInstance::at(&path);
/// let second = SingleInstance::at(&path);
/// assert!(first.acquire()?);
/// assert!(!second.acquire()?);
/// drop(first);
/// assert!(second.acquire()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SingleInstance {
    path: Arc<Path>,
    /// Open while the lock is held.
    held: Arc<Mutex<Option<File>>>,
}

impl SingleInstance {
    /// A lock at `path`, not held yet. The file is made where it is missing. All clones are one.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into().into(),
            held: Arc::default(),
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock if nobody else has it, and does not wait; returns whether it is held now. It stays so until
    /// [`release`](Self::release), the last clone is dropped, or the process ends.
    ///
    /// # Errors
    ///
    /// The file cannot be made, opened or locked.
    pub fn acquire(&self) -> io::Result<bool> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return Ok(true);
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.path)?;
        match file.try_lock() {
            Ok(()) => *held = Some(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(held.is_some())
    }

    /// Whether it is held here.
    pub fn is_held(&self) -> bool {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// Lets go of the lock.
    pub fn release(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
