//! The file, line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use punctual::store::{StoreError, StoreResult};
use serde_json::{Value, json};

#[derive(Debug)]
pub(crate) struct Trail(Mutex<Lines>);

#[derive(Debug)]
struct Lines {
    file: File,
    /// How many changes were asked for.
    asked: usize,
}

impl Trail {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(path)?;
        // More than there were, for each has up to two lines; what counts is that no number comes twice.
        let asked = BufReader::new(&file).lines().count();
        Ok(Self(Mutex::new(Lines { file, asked })))
    }

    /// Writes down what is asked for, and gives it a number. What cannot be written down must not be done.
    pub(crate) fn ask(&self, at: Timestamp, asked: &Value) -> StoreResult<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = lines.asked + 1;
        // A disk that is full may be emptied: the scheduler says that the store is away, and comes back to it.
        let unavailable = |error| StoreError::unavailable(format!("the audit trail: {error}"));
        lines
            .write(&json!({ "at": at, "number": number, "asked": asked }))
            .map_err(unavailable)?;
        lines.asked = number;
        Ok(number)
    }

    pub(crate) fn answer(&self, number: usize, answer: &Value) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // It is done, so there is nothing to refuse. That this line is missing says so.
        let _ = lines.write(&json!({ "number": number, "answer": answer }));
    }
}

impl Lines {
    fn write(&mut self, line: &Value) -> io::Result<()> {
        // At once, so that a process that is killed leaves no half of it.
        self.file.write_all(format!("{line}\n").as_bytes())
    }
}
