//! Chores, as `cargo xtask <chore>`: what CI calls is what people type.
#![expect(clippy::print_stdout, reason = "chores talk to people")]

mod services;

use std::process::Command;

use anyhow::{Context, Result, bail};

const HELP: &str = "\
cargo xtask <chore>

  test [ARGUMENT ...]   run every test: units, oracle, conformance, HTTP, end to end, doc examples, examples
                        (arguments go to `cargo test`, such as -p punctual-trigger or the name of a test)
  features              check that the library builds with each feature alone, and with none
  size                  build the release binary from nothing; print seconds, packages and bytes
";

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let chore = args.next();
    let rest: Vec<String> = args.collect();
    match chore.as_deref() {
        Some("test") => test(&rest),
        Some("features") => features(),
        Some("size") => size(),
        Some("services") => services::main(&rest),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => bail!("no chore is called {other:?}\n\n{HELP}"),
        None => bail!("which chore?\n\n{HELP}"),
    }
}

/// Runs cargo in the workspace; an exit code other than 0 is an error.
fn cargo(args: &[&str]) -> Result<()> {
    println!("$ cargo {}", args.join(" "));
    let status = command(args)
        .status()
        .context("cargo could not be started")?;
    if !status.success() {
        bail!("`cargo {}` failed: {status}", args.join(" "));
    }
    Ok(())
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command
        .args(args)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command
}

/// Every test needs nothing but this machine: `SQLite` is compiled in, and each test has a folder of its own.
fn test(rest: &[String]) -> Result<()> {
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    if !rest.is_empty() {
        return cargo(&[&["test", "--all-features"], &rest[..]].concat());
    }
    // Targets and doc examples apart, so that a failure in one names it.
    cargo(&[
        "test",
        "--workspace",
        "--all-features",
        "--lib",
        "--bins",
        "--tests",
        "--examples",
    ])?;
    cargo(&["test", "--workspace", "--all-features", "--doc"])
}

fn features() -> Result<()> {
    let package = [
        "check",
        "--quiet",
        "--package",
        "punctual",
        "--no-default-features",
    ];
    cargo(&package)?;
    for feature in ["bundled-zones", "sqlite", "tokio"] {
        cargo(&[&package[..], &["--features", feature]].concat())?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn size() -> Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/size");
    if std::path::Path::new(folder).exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let began = std::time::Instant::now();
    cargo(&[
        "build",
        "--release",
        "--package",
        "punctual-cli",
        "--target-dir",
        folder,
    ])?;
    let seconds = began.elapsed().as_secs();
    let tree = [
        "tree",
        "--package",
        "punctual-cli",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--no-dedupe",
    ];
    let tree = command(&tree).output().context("cargo tree")?;
    let listed = String::from_utf8_lossy(&tree.stdout).into_owned();
    let mut packages: Vec<&str> = listed
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    packages.sort_unstable();
    packages.dedup();
    let bytes = std::fs::metadata(format!("{folder}/release/punctual"))?.len();
    println!(
        "{seconds} s, {} packages, {} KiB",
        packages.len(),
        bytes / 1024
    );
    Ok(())
}
