//! The window opens, and a job of its own closes it.

use std::process::Command;

// What the build script links into every target of this package refers to it.
use cxx_qt as _;

#[test]
fn opens_and_closes() {
    let mut window = Command::new(env!("CARGO_BIN_EXE_qt-window"));
    let status = window.arg("2").env("QT_QPA_PLATFORM", "offscreen").status();
    assert!(status.expect("it can be started").success());
}
