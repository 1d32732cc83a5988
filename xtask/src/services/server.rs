//! What all servers under the tests have in common.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, getegid, geteuid, setsid};

use super::{mongodb::Mongodb, mysql::Mysql, postgres::Postgres, redis::Redis};

pub(super) const SERVERS: [&dyn Server; 4] = [&Postgres, &Mysql, &Redis, &Mongodb];

/// A kind of server. All that differs between them is here; starting, watching and stopping is the same for all.
pub(super) trait Server: Sync {
    /// The word for it on the command line and in names of variables and tests.
    fn name(&self) -> &'static str;

    /// The packages of Debian that bring it.
    fn packages(&self) -> &'static [&'static str];

    /// The installed program, or what builds it.
    fn find(&self) -> Option<PathBuf>;

    /// The user to run as if we are root. `None`: root will do.
    fn user(&self) -> Option<&'static str> {
        None
    }

    /// The program itself, if what `find` returned only builds it.
    fn build(&self, found: PathBuf) -> Result<PathBuf> {
        Ok(found)
    }

    /// Makes the data folder with the database `punctual_test` and a user who may create tables.
    fn prepare(&self, program: &Path, place: &Place) -> Result<Launch>;

    /// Speaks to the server as a client would, and returns its version if it tells one.
    fn ping(&self, url: &str) -> Result<Option<String>>;

    /// The version, for servers whose answer to `ping` does not tell it.
    fn version(&self, _program: &Path) -> Option<String> {
        None
    }

    /// What makes it stop without waiting for anybody.
    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }
}

impl dyn Server + '_ {
    /// The variable that holds its address.
    pub(super) fn variable(&self) -> String {
        format!("PUNCTUAL_TEST_{}_URL", self.name().to_uppercase())
    }
}

/// Where a server is to live.
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) port: u16,
    pub(super) password: String,
    owner: Option<Owner>,
}

/// How a server is started, and where it is then found.
pub(super) struct Launch {
    pub(super) arguments: Vec<OsString>,
    pub(super) url: String,
}

#[derive(Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl Place {
    /// A new folder that belongs to the user that the server will run as, a free port, a password.
    pub(super) fn new(server: &dyn Server) -> Result<Self> {
        let owner = match server.user() {
            Some(user) if geteuid().is_root() => {
                Some(Owner::of(user).or_else(|_| Owner::of("nobody"))?)
            }
            _ => None,
        };
        let folder = tempfile::Builder::new()
            .prefix(&format!("punctual-{}-", server.name()))
            .tempdir()
            .context("no folder for its data")?
            .keep();
        let place = Self {
            folder,
            port: free_port()?,
            password: password()?,
            owner,
        };
        place.hand_over(&place.folder)?;
        Ok(place)
    }

    /// What the server writes while it runs.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(super) fn log_end(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.trim_end().lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    pub(super) fn port_is_taken(&self) -> bool {
        TcpListener::bind(("127.0.0.1", self.port)).is_err()
    }

    /// `user:password@host:port`, as it is written in URLs.
    pub(super) fn account(&self, user: &str) -> String {
        let password = self.password.replace('@', "%40");
        format!("{user}:{password}@127.0.0.1:{}", self.port)
    }

    pub(super) fn make_folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::create_dir(&path)?;
        self.hand_over(&path)?;
        Ok(path)
    }

    /// Writes a file that only the server can read.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        self.hand_over(&path)?;
        Ok(path)
    }

    /// A program that runs as the server's user, in its folder.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = self.own_command(program);
        if let Some(owner) = self.owner {
            command.uid(owner.user).gid(owner.group);
        }
        command
    }

    /// The same in a session of its own: Ctrl-C and a closed terminal do not reach it.
    pub(super) fn detached_command(&self, program: &Path) -> Result<Command> {
        // We ourselves change the session and then the user: that user may be unable to read our program.
        let mut command = self.own_command(&std::env::current_exe()?);
        let (user, group) = match self.owner {
            Some(owner) => (owner.user, owner.group),
            None => (geteuid().as_raw(), getegid().as_raw()),
        };
        command
            .args(["services", "detached"])
            .args([user.to_string(), group.to_string()])
            .arg(program);
        Ok(command)
    }

    fn own_command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            // Error texts are looked into, and folders sorted, alike everywhere.
            .env("LC_ALL", "C");
        command
    }

    fn hand_over(&self, path: &Path) -> Result<()> {
        if let Some(owner) = self.owner {
            chown(path, Some(owner.user), Some(owner.group))
                .with_context(|| format!("{} cannot be given away", path.display()))?;
        }
        Ok(())
    }
}

/// Becomes the program of a [`Place::detached_command`].
pub(super) fn detached(arguments: &[String]) -> Result<()> {
    let [user, group, program, arguments @ ..] = arguments else {
        bail!("expected a user, a group and a program");
    };
    let owner = Owner {
        user: user.parse()?,
        group: group.parse()?,
    };
    setsid()?;
    let mut command = Command::new(program);
    // Only root may change who it is, even if to itself.
    if geteuid().is_root() {
        command.uid(owner.user).gid(owner.group);
    }
    let error = command.args(arguments).exec();
    Err(error).with_context(|| format!("{program} could not be started"))
}

impl Owner {
    fn of(user: &str) -> Result<Self> {
        let id = |option| -> Result<u32> {
            let output = Command::new("id")
                .args([option, user])
                .output()
                .context("the program `id` could not be started")?;
            let text = String::from_utf8_lossy(&output.stdout);
            text.trim()
                .parse()
                .with_context(|| format!("there is no user {user}"))
        };
        Ok(Self {
            user: id("-u")?,
            group: id("-g")?,
        })
    }
}

/// The first of these programs that can be found: on the path, or where distributions put servers.
pub(crate) fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path)
        // Servers are in sbin, which an ordinary user's path often lacks.
        .chain(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"].map(PathBuf::from))
        .collect();
    names.iter().find_map(|name| {
        folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|file| is_executable(file))
    })
}

fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Runs a program to its end; what it said becomes the error if it failed.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let program = PathBuf::from(command.get_program());
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} could not be started", program.display()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "{} failed ({}):\n{}",
            program.display(),
            output.status,
            String::from_utf8_lossy(&said).trim()
        );
    }
    Ok(())
}

/// The first line of `program --version`.
pub(super) fn version_of(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

/// A port that was free a moment ago. Whoever starts a server on it tries again if somebody was quicker.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// A password with a character that URLs must escape, so that the tests prove that it is unescaped.
fn password() -> Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(format!("{:016x}@", u64::from_le_bytes(bytes)))
}
