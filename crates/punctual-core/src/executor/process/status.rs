//! The end of a process, in words.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;

/// The signals that end programs, and what each is likely to mean.
const SIGNALS: [(Signal, &str, &str); 16] = [
    (
        Signal::ABORT,
        "SIGABRT",
        "aborted; so ends a stack overflow too, and stderr says which it was",
    ),
    (
        Signal::SEGV,
        "SIGSEGV",
        "an invalid memory access, or a stack overflow",
    ),
    (
        Signal::KILL,
        "SIGKILL",
        "perhaps by the kernel's out-of-memory killer",
    ),
    (Signal::BUS, "SIGBUS", "a memory access that cannot be"),
    (Signal::ILL, "SIGILL", "an illegal instruction"),
    (Signal::FPE, "SIGFPE", "an arithmetic error"),
    (Signal::TRAP, "SIGTRAP", "a trap"),
    (Signal::SYS, "SIGSYS", "a system call that is not allowed"),
    (Signal::TERM, "SIGTERM", "somebody asked it to end"),
    (Signal::INT, "SIGINT", "somebody interrupted it"),
    (Signal::HUP, "SIGHUP", "its terminal is gone"),
    (Signal::QUIT, "SIGQUIT", "somebody asked it to quit"),
    (Signal::PIPE, "SIGPIPE", "nobody reads what it writes"),
    (Signal::ALARM, "SIGALRM", "an alarm that it set"),
    (Signal::XCPU, "SIGXCPU", "its limit of processor time"),
    (Signal::XFSZ, "SIGXFSZ", "its limit of file size"),
];

/// What became of a worker process, as the rest of a sentence.
pub(super) fn describe(status: ExitStatus) -> String {
    let Some(number) = status.signal() else {
        let code = status.code().unwrap_or_default();
        return format!("exited with code {code}");
    };
    let known = SIGNALS
        .iter()
        .find(|(signal, ..)| signal.as_raw() == number);
    match known {
        Some((_, name, meaning)) => format!("was killed by {name} ({meaning})"),
        None => format!("was killed by signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_happened() {
        for (raw, expected) in [
            (0, "exited with code 0"),
            (3 << 8, "exited with code 3"),
            (
                9,
                "was killed by SIGKILL (perhaps by the kernel's out-of-memory killer)",
            ),
            // With a core dumped.
            (
                0x80 | 0xb,
                "was killed by SIGSEGV (an invalid memory access, or a stack overflow)",
            ),
            (40, "was killed by signal 40"),
        ] {
            assert_eq!(describe(ExitStatus::from_raw(raw)), expected);
        }
    }
}
