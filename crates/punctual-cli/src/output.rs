//! The one place that writes to stdout and stderr.

use std::fmt::Display;
use std::io::{self, Write};

use serde_json::Value;

use crate::exit::{Failure, Outcome};

/// Writes a line to stdout.
///
/// # Errors
///
/// Where nobody reads it. A pipe that was closed (`| head`) is no failure to speak of; see [`Failure::broken_pipe`].
pub(crate) fn line(text: impl Display) -> Outcome {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").map_err(|error| Failure::output(&error))?;
    out.flush().map_err(|error| Failure::output(&error))
}

/// Writes a JSON value to stdout, readable.
pub(crate) fn json(value: &Value) -> Outcome {
    line(format_args!("{value:#}"))
}

/// Tells the person at the terminal something, on stderr.
pub(crate) fn tell(text: impl Display) {
    // Where even stderr is gone nobody is there to be told.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
