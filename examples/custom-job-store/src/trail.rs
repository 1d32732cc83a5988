//! The file, line by line.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use punctual::store::{StoreError, StoreResult};
use serde_json::{Value, json};

#[derive(Debug)]
pub(crate) struct Trail(Mutex<File>);

impl Trail {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self(Mutex::new(file)))
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what is asked for; returns its place in the file, by which the answer names it. What cannot be written down must not
    /// be done.
    pub(crate) fn ask(&self, at: Timestamp, asked: &Value) -> StoreResult<u64> {
        let mut file = self.file();
        let mut ask = || {
            let place = file.metadata()?.len();
            write(
                &mut file,
                &json!({ "place": place, "at": at, "asked": asked }),
            )?;
            Ok(place)
        };
        // A disk that is full may be emptied: the scheduler says that the store is away, and comes back to it.
        ask().map_err(|error: io::Error| {
            StoreError::unavailable(format!("the audit trail cannot be written: {error}"))
        })
    }

    pub(crate) fn answer(&self, to: u64, answer: &Value) {
        // It is done, so there is nothing to refuse. That the line is missing says enough.
        let _ = write(&mut self.file(), &json!({ "to": to, "answer": answer }));
    }
}

/// Appends a line, or nothing.
fn write(file: &mut File, line: &Value) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(format!("{line}\n").as_bytes())
        .inspect_err(|_| {
            // A half of it would spoil the next one.
            let _ = file.set_len(before);
        })
}
