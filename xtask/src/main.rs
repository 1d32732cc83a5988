//! Chores, as `cargo xtask <chore>`: what CI calls is what people type.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "chores talk to people"
)]

mod packages;
mod services;
mod test;
mod toolkits;
mod torture;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

const HELP: &str = "\
cargo xtask <chore>

  test [ARGUMENT ...]   run every test: units, oracle, conformance, HTTP, end to end, doc examples, examples
                        (arguments go to `cargo test`, such as -p punctual-trigger or the name of a test);
                        the servers below are started for it, if they do not run
  torture [STORE ...] [FLAG ...]
                        `punctual torture` for 20 s on sqlite, postgres, mysql, redis and mongodb, or those that are
                        named; flags go to it (such as --seconds 60 --seed 7)
  services start        start PostgreSQL, MariaDB or MySQL, Redis or Valkey, and MongoDB or FerretDB for the tests, each on a
                        free port with a new folder for its data; prints their addresses as lines for a shell:
                        eval \"$(cargo xtask services start)\"
  services stop         stop them and remove their data
  services status       what runs where, or would
  services install      install what is missing (on Debian as root)
                        (all four take names: postgres mysql redis mongodb; and --dir FOLDER, to keep a second set apart)
  toolkits              install what the crates for GLib, GTK and Qt are built with (on Debian as root), or say what is missing
  features              check that the library builds with each feature alone, and with none
  size                  build the release binary from nothing; print seconds, packages and bytes
";

fn main() -> ExitCode {
    match chore() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chore() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let chore = args.next();
    let rest: Vec<String> = args.collect();
    match chore.as_deref() {
        Some("test") => test::main(&rest),
        Some("torture") => torture::main(&rest),
        Some("features") => features(),
        Some("size") => size(),
        Some("toolkits") => toolkits::main(),
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
    command.args(args).current_dir(root());
    command
}

/// The root of the workspace.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("the crate is a folder of the workspace")
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
    for feature in [
        "actix",
        "bundled-zones",
        "calloop",
        "macros",
        "may",
        "mongodb",
        "mysql",
        "postgres",
        "redis",
        "smol",
        "sqlite",
        "tokio",
    ] {
        cargo(&[&package[..], &["--features", feature]].concat())?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn size() -> Result<()> {
    let folder = root().join("target/size");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let folder = folder.to_str().context("a path in UTF-8")?;
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
