//! Where tokens are found and put.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use punctual_server::Secret;

use crate::exit::{Failure, Outcome};

/// The variable that holds a token, for the server as for its clients.
pub(crate) const VARIABLE: &str = "PUNCTUAL_TOKEN";

/// The file beside a database that holds its admin token for clients on the same machine.
pub(crate) fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".token");
    name.into()
}

/// The file for a server that keeps nothing else: in the user's runtime folder, where there is one.
pub(crate) fn in_runtime_folder(port: u16) -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty())?;
    Some(Path::new(&folder).join(format!("punctual-{port}.token")))
}

/// Writes a token so that only its owner can read it.
pub(crate) fn write(path: &Path, token: &Secret) -> io::Result<()> {
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

/// Reads the token in a file.
pub(crate) fn read(path: &Path) -> Outcome<Secret> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::plain(format!("the token file {shown} cannot be read: {error}"))
    })?;
    Secret::given(&text).map_err(|error| Failure::plain(format!("{shown}: {error}")))
}

/// The token in the environment.
pub(crate) fn from_environment() -> Outcome<Option<Secret>> {
    match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => Secret::given(&text)
            .map(Some)
            .map_err(|error| Failure::usage(format!("{VARIABLE}: {error}"))),
        Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Failure::usage(format!("{VARIABLE}: {error}"))),
    }
}

/// The token of a server on this machine, from the file that it left for us.
pub(crate) fn of_local_server(server: SocketAddr) -> Option<Secret> {
    let here = beside(Path::new("punctual.db"));
    let files = [Some(here), in_runtime_folder(server.port())];
    files
        .into_iter()
        .flatten()
        .find_map(|path| read(&path).ok())
}
