//! Packages of the distribution, where that is ours to decide: on Debian, as root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Whether packages can be installed without asking anybody.
pub(crate) fn is_possible() -> bool {
    rustix::process::geteuid().is_root()
        && Path::new("/etc/debian_version").exists()
        && crate::services::on_path(&["apt-get"]).is_some()
}

/// Installs packages, without starting what servers they bring.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    eprintln!("installing {}", packages.join(", "));
    let _silence = Silence::new()?;
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], packages].concat())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .arg("-qq")
        // Somebody else may be installing.
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("apt-get could not be started")?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "`apt-get {}` failed:\n{}",
            arguments.join(" "),
            String::from_utf8_lossy(&said).trim()
        );
    }
    Ok(())
}

/// Keeps packages from starting servers of their own. An existing policy is left alone.
struct Silence {
    is_ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl Silence {
    fn new() -> Result<Self> {
        let is_ours = !Path::new(POLICY).exists();
        if is_ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n")
                .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
                .with_context(|| format!("{POLICY} cannot be written"))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}
