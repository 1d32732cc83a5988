//! The example says what its comments promise.

use std::process::Command;

#[test]
fn each_run_ends_in_its_way_and_the_program_well() {
    let output = Command::new(env!("CARGO_BIN_EXE_process-pool")).output();
    let output = output.expect("it was built");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {said}", output.status);
    for expected in [
        "give up: failed (the worker process was killed by SIGABRT",
        "    this will not end well\n",
        "descend: failed (the worker process was killed by SIGABRT",
        "count primes: succeeded (no error)\n    in process ",
        "\n    17984\n",
        "spin: timed_out (took longer than its timeout of 2 s)",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in:\n{said}");
    }
}
