//! The token: needed by whoever is not on this machine, and for the API under `/scheduler`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use punctual::address::StoreAddress;
use punctual::scheduler::{DEFAULT_ALIAS, Scheduler};
use punctual_server::{Secret, Tokens};

use crate::settings::Settings;

/// The token that the operator gave, if any.
///
/// # Errors
///
/// Where others can reach the service, and there is none.
pub(crate) fn given(settings: &Settings) -> anyhow::Result<Option<Secret>> {
    if let Some(path) = &settings.token_file {
        return read(path).map(Some);
    }
    let advice = "it takes a token: write at least 16 random characters into a file and name it by --token-file FILE, \
                  or token_file in the settings";
    if !settings.listen.ip().is_loopback() {
        bail!(
            "listen: {} can be reached from other machines, so {advice}; or listen on 127.0.0.1",
            settings.listen
        );
    }
    if let Some(host) = settings.hosts.first() {
        bail!("hosts: whoever calls this service {host:?} may be on another machine, so {advice}");
    }
    Ok(None)
}

fn read(path: &Path) -> anyhow::Result<Secret> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .with_context(|| format!("the token file {shown} cannot be read"))?;
    Secret::given(&text).with_context(|| format!("the token file {shown} does not do"))
}

/// What the API takes: the given token, or else one that the first process on a store makes, and shows once.
pub(crate) async fn for_api(
    settings: &Settings,
    given: Option<&Secret>,
    scheduler: &Scheduler,
) -> anyhow::Result<Arc<Tokens>> {
    if let Some(token) = given {
        return Ok(Arc::new(Tokens::given(token)));
    }
    let stores = scheduler.jobstores();
    let (_, store) = stores
        .into_iter()
        .find(|(alias, _)| &**alias == DEFAULT_ALIAS)
        .context("there is always a default job store")?;
    let token = Secret::random();
    if Tokens::first_start(&*store, &token, scheduler.now()).await? {
        show(settings.default_store(), &token);
    }
    Ok(Arc::new(Tokens::stored(store)))
}

/// Shows a token once, and leaves it beside the database, where there is one, for clients of the same user.
fn show(store: &StoreAddress, token: &Secret) {
    let mut err = io::stderr();
    let _ = writeln!(err, "token for /scheduler (shown once): {}", token.reveal());
    let Some(database) = store.path() else {
        return;
    };
    let mut path = database.as_os_str().to_owned();
    path.push(".token");
    let _ = match write(Path::new(&path), token) {
        Ok(()) => writeln!(err, "also in {}", Path::new(&path).display()),
        Err(error) => writeln!(err, "it could not be left in a file: {error}"),
    };
}

/// Writes a token so that only its owner can read it.
fn write(path: &Path, token: &Secret) -> io::Result<()> {
    // A file of that name may be readable by others, or a link: it is not reused.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    writeln!(options.open(path)?, "{}", token.reveal())
}
