//! Generates the bindings to Qt.

use cxx_qt_build::CxxQtBuilder;

fn main() {
    let mut builder = CxxQtBuilder::new()
        .include_dir("include")
        .files(["src/ticker.rs"]);
    if std::env::var_os("CARGO_FEATURE_APP").is_some() {
        builder = builder.qt_module("Gui").files(["src/app.rs"]);
    }
    builder.build();
    // The builder asks for gold, which Rust warns of, and which misses symbols between the builder's own libraries. The last
    // one that is asked for counts; this one comes with Rust.
    if std::env::var("TARGET").as_deref() == Ok("x86_64-unknown-linux-gnu") {
        println!("cargo::rustc-link-arg=-fuse-ld=lld");
    }
}
