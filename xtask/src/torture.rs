//! `cargo xtask torture`: `punctual torture` on each store, with real servers.

use anyhow::{Result, bail};

use crate::services::ForTests;
use crate::test::{Interrupt, with_servers};

/// The stores, and what is enough for each in the time that CI has: a slower store gets fewer jobs.
const STORES: [(&str, &str); 5] = [
    ("sqlite", "300"),
    ("postgres", "300"),
    ("mysql", "300"),
    ("redis", "300"),
    ("mongodb", "30"),
];

/// Tortures the stores that are named first, or all; what comes behind goes to `punctual torture`.
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    let flags = arguments
        .iter()
        .position(|argument| argument.starts_with('-'));
    let (names, flags) = arguments.split_at(flags.unwrap_or(arguments.len()));
    let known = |name: &String| STORES.iter().any(|(store, _)| store == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let stores = STORES.map(|(store, _)| store).join(", ");
        bail!("{name:?} is no store; these are: {stores}");
    }
    with_servers(|servers, interrupt| {
        let mut failed = Vec::new();
        for (store, jobs) in STORES {
            let wanted = names.is_empty() || names.iter().any(|name| name == store);
            if wanted && !torture(store, jobs, flags, servers, interrupt)? {
                failed.push(store);
            }
        }
        if !failed.is_empty() {
            bail!("torture failed on {}", failed.join(", "));
        }
        Ok(())
    })
}

/// Whether all went well; a server that is missing is reported by name in the end.
fn torture(
    store: &str,
    jobs: &str,
    flags: &[String],
    servers: &ForTests,
    interrupt: &Interrupt,
) -> Result<bool> {
    // The release build would take longer than all of the torture.
    let run = ["run", "--quiet", "--package", "punctual-cli", "--"];
    let mut command = crate::command(&run);
    command.args(["torture", "--seconds", "20", "--jobs", jobs]);
    if store == "sqlite" {
        command.env_remove("PUNCTUAL_STORE");
    } else {
        let variable = format!("PUNCTUAL_TEST_{}_URL", store.to_uppercase());
        let Some(server) = servers
            .ready
            .iter()
            .find(|server| server.variable == variable)
        else {
            return Ok(true);
        };
        // It holds a password, and arguments are for all to see.
        command.env("PUNCTUAL_STORE", &server.url);
    }
    // Of two flags the last counts.
    command.args(flags);
    println!("$ punctual torture on {store}");
    Ok(interrupt.wait_for(&mut command)?.success())
}
