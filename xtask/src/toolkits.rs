//! What the crates for graphical programs are built with: found, or installed where that is ours to decide.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::packages;

/// A toolkit, and the crates that need it.
struct Toolkit {
    name: &'static str,
    crates: &'static [&'static str],
    /// Each succeeds where a part of it is there.
    probes: &'static [&'static [&'static str]],
    /// What has it on Debian.
    packages: &'static [&'static str],
}

const TOOLKITS: [Toolkit; 3] = [
    Toolkit {
        name: "GLib",
        crates: &["punctual-glib"],
        probes: &[&["pkg-config", "--atleast-version=2.66", "glib-2.0"]],
        packages: &["libglib2.0-dev", "pkg-config"],
    },
    Toolkit {
        name: "GTK 4",
        crates: &["gtk-window"],
        probes: &[
            &["pkg-config", "--atleast-version=4.8", "gtk4"],
            // Its test opens a window.
            &["xvfb-run", "--help"],
        ],
        packages: &["libgtk-4-dev", "pkg-config", "xvfb", "xauth"],
    },
    Toolkit {
        name: "Qt 6",
        crates: &["punctual-qt", "qt-window"],
        probes: &[&["qmake6", "-query", "QT_VERSION"], &["c++", "--version"]],
        packages: &["qt6-base-dev", "g++"],
    },
];

impl Toolkit {
    fn is_there(&self) -> bool {
        self.probes.iter().all(|probe| {
            let mut command = Command::new(probe[0]);
            command.args(&probe[1..]).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
    }
}

/// `cargo xtask toolkits`
pub(crate) fn main() -> Result<()> {
    let missing = Missing::find()?;
    missing.report();
    match missing.0.len() {
        0 => Ok(()),
        _ => bail!("not every crate of the workspace can be built"),
    }
}

/// Toolkits that cannot be had.
pub(crate) struct Missing(Vec<&'static Toolkit>);

impl Missing {
    /// Installs what is missing, where that is possible.
    ///
    /// # Errors
    ///
    /// In CI, where a suite that is skipped is a failure.
    pub(crate) fn find() -> Result<Self> {
        let absent = || TOOLKITS.iter().filter(|toolkit| !toolkit.is_there());
        let wanted: Vec<&str> = absent()
            .flat_map(|toolkit| toolkit.packages)
            .copied()
            .collect();
        if !wanted.is_empty() && packages::is_possible() {
            packages::install(&wanted)?;
        }
        let missing = Self(absent().collect());
        if !missing.0.is_empty() && std::env::var("CI").is_ok_and(|value| value == "true") {
            missing.report();
            bail!("no test was run, for want of toolkits");
        }
        Ok(missing)
    }

    /// The arguments that leave out of a build what cannot be built.
    pub(crate) fn exclusions(&self) -> impl Iterator<Item = &'static str> {
        let crates = self.0.iter().flat_map(|toolkit| toolkit.crates);
        crates.flat_map(|name| ["--exclude", name])
    }

    /// The last lines, so that nobody takes silence for success.
    pub(crate) fn report(&self) {
        for toolkit in &self.0 {
            println!(
                "SKIPPED: {}: no {}; install it (on Debian or Ubuntu: sudo apt-get install {})",
                toolkit.crates.join(" and "),
                toolkit.name,
                toolkit.packages.join(" ")
            );
        }
    }
}
