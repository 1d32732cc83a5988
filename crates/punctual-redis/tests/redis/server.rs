//! A server of a test's own, to be killed, restarted and set up badly.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use punctual_core::clock::{Clock, SystemClock};
use tempfile::TempDir;

use crate::client;

/// How long a server may take to answer first.
const START: Duration = Duration::from_secs(20);

pub(super) struct Server {
    child: Option<Child>,
    program: &'static str,
    args: Vec<String>,
    port: u16,
    password: Option<String>,
    folder: TempDir,
}

impl Server {
    /// Starts one with these settings; `None`, and a word about it, where no program is installed.
    pub(super) fn start(settings: &[(&str, &str)]) -> Option<Self> {
        let is_there = |program: &&&str| {
            let version = Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .status();
            version.is_ok_and(|status| status.success())
        };
        let Some(program) = ["redis-server", "valkey-server"].iter().find(is_there) else {
            let is_ci = std::env::var("CI").as_deref() == Ok("true");
            assert!(
                !is_ci,
                "neither redis-server nor valkey-server is installed"
            );
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                b"SKIPPED: neither redis-server nor valkey-server is installed\n",
            );
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let find = |name| settings.iter().find(|setting| setting.0 == name);
        let mut server = Self {
            child: None,
            program,
            args: settings
                .iter()
                .flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()])
                .collect(),
            port,
            password: find("requirepass").map(|setting| setting.1.to_owned()),
            folder: tempfile::tempdir().unwrap(),
        };
        server.run();
        Some(server)
    }

    /// Starts it again after [`kill`](Self::kill), with what it kept.
    pub(super) fn run(&mut self) {
        let child = Command::new(self.program)
            .args(["--bind", "127.0.0.1", "--save", "", "--port"])
            .arg(self.port.to_string())
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.args)
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        let deadline = SystemClock.monotonic() + START;
        let client = client::Client::open(self.url()).unwrap();
        while client
            .get_connection()
            .and_then(|mut connection| client::cmd("PING").query::<client::Value>(&mut connection))
            .is_err()
        {
            assert!(
                SystemClock.monotonic() < deadline,
                "the server does not answer"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}/0", self.port),
            None => format!("redis://127.0.0.1:{}/0", self.port),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
