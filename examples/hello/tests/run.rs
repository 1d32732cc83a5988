//! The example does what its first line says.

use std::process::Command;

#[test]
fn it_greets_three_times_and_ends() {
    let output = Command::new(env!("CARGO_BIN_EXE_hello")).output();
    let output = output.expect("it was built");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    // A fourth where the machine is too busy to end in time.
    assert!(said.starts_with(&"hello, world\n".repeat(3)), "{said}");
}
