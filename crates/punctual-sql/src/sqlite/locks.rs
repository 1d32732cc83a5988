//! A locked file for every node, beside the database: a file that anybody can lock proves its node dead.
//!
//! The operating system lets go of a lock when its process ends, however it ends. A file that is missing proves
//! nothing. On Linux these locks belong to the open file, so two stores in one process are two nodes.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use punctual_core::id::NodeId;
use punctual_core::store::StoreError;

/// The files of one database and prefix.
#[derive(Debug)]
pub(super) struct Locks {
    folder: PathBuf,
    /// `punctual.db-node-`
    stem: String,
    held: Mutex<HashMap<NodeId, File>>,
}

/// A dead node's file, locked by us: nobody else can take it for a living one's, or remove it too.
#[derive(Debug)]
pub(super) struct DeadNode {
    path: PathBuf,
    _lock: File,
}

impl DeadNode {
    pub(super) fn forget(self) {
        remove(&self.path);
    }
}

const ENDING: &str = ".lock";

impl Locks {
    /// The files beside `database`. Jobs under another prefix are another store.
    pub(super) fn new(database: &Path, prefix: &str, default_prefix: &str) -> Self {
        let name = database.file_name().unwrap_or_default().to_string_lossy();
        let mark = if prefix == default_prefix { "" } else { prefix };
        let folder = match database.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        Self {
            folder,
            stem: format!("{name}-{mark}node-"),
            held: Mutex::default(),
        }
    }

    fn path(&self, node: NodeId) -> PathBuf {
        self.folder.join(format!("{}{node}{ENDING}", self.stem))
    }

    /// Locks the node's file from now on.
    pub(super) fn hold(&self, node: NodeId) -> Result<(), StoreError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains_key(&node) {
            return Ok(());
        }
        let path = self.path(node);
        // Locked before it has its name: nobody ever sees it free.
        let fresh = path.with_extension("new");
        let lock = || -> io::Result<File> {
            let file = File::create(&fresh)?;
            file.try_lock().map_err(io::Error::from)?;
            fs::rename(&fresh, &path)?;
            Ok(file)
        };
        let file = lock().map_err(|error| {
            StoreError::failed(format!(
                "{} cannot be made and locked ({error}); the folder of the database must be writable, and on a disk of \
                 this machine",
                path.display()
            ))
        })?;
        held.insert(node, file);
        Ok(())
    }

    /// The node has ended and left nothing behind.
    pub(super) fn release(&self, node: NodeId) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = held.remove(&node) {
            remove(&self.path(node));
            drop(file);
        }
    }

    /// The proof that a node is dead, if there is one.
    pub(super) fn dead(&self, node: NodeId) -> Option<DeadNode> {
        free(self.path(node))
    }

    /// The nodes whose files can be locked.
    pub(super) fn all_dead(&self) -> Vec<(NodeId, DeadNode)> {
        let Ok(files) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        files
            .filter_map(|file| {
                let name = file.ok()?.file_name();
                let node = name.to_str()?.strip_prefix(&self.stem)?;
                let node = node.strip_suffix(ENDING)?.parse().ok()?;
                Some((node, self.dead(node)?))
            })
            .collect()
    }
}

fn free(path: PathBuf) -> Option<DeadNode> {
    // Not made where it is missing: that would be a proof out of nothing.
    let file = File::options().read(true).write(true).open(&path).ok()?;
    match file.try_lock() {
        Ok(()) => Some(DeadNode { path, _lock: file }),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => {
            tracing::warn!(path = %path.display(), %error, "the lock of a node cannot be tried");
            None
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "the lock file of a node stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_free_file_proves_a_death() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let (ours, theirs) = (
            Locks::new(&database, "p", "p"),
            Locks::new(&database, "p", "p"),
        );
        let node = NodeId(7);
        assert!(ours.dead(node).is_none(), "missing");
        theirs.hold(node).unwrap();
        assert!(ours.dead(node).is_none(), "held");
        assert!(theirs.dead(node).is_none(), "held by the same process");
        drop(theirs);
        let found = ours.all_dead();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, node);
        for (_, dead) in found {
            dead.forget();
        }
        assert!(ours.dead(node).is_none(), "forgotten");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
