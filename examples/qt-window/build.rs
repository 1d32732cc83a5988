//! Generates the bindings to Qt.

use cxx_qt_build::CxxQtBuilder;

fn main() {
    CxxQtBuilder::new()
        .include_dir("include")
        .qt_module("Widgets")
        .files(["src/window.rs"])
        .build();
    // See punctual-qt.
    if std::env::var("TARGET").as_deref() == Ok("x86_64-unknown-linux-gnu") {
        println!("cargo::rustc-link-arg=-fuse-ld=lld");
    }
}
