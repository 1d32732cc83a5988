//! The window opens, and a job of its own closes it.

use std::process::Command;

/// On the display that there is, or else on a virtual one.
#[test]
#[expect(clippy::print_stderr, reason = "what is skipped is named")]
fn opens_and_closes() {
    let has_display = ["WAYLAND_DISPLAY", "DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    let window = env!("CARGO_BIN_EXE_gtk-window");
    let mut command = Command::new(if has_display { window } else { "xvfb-run" });
    if !has_display {
        command.args(["--auto-servernum", window]);
    }
    // Without the bus of a desktop there is nobody to be accessible to.
    match command.arg("2").env("GTK_A11Y", "none").status() {
        Ok(status) => assert!(status.success()),
        Err(error) => {
            let is_ci = std::env::var("CI").as_deref() == Ok("true");
            assert!(!is_ci, "no display, and no xvfb-run: {error}");
            eprintln!("SKIPPED: no display, and no xvfb-run (`apt install xvfb`)");
        }
    }
}
