//! How the program ends: each exit code means one thing.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// Exit codes, as `docs/cli.md` lists them. 0 is success, and 2 a command line that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Failure = 1,
    Usage = 2,
    NotFound = 3,
    Conflict = 4,
    Invalid = 5,
    Unreachable = 6,
    Unauthorised = 7,
}

/// Why a command did not do what it should.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    code: Option<Code>,
    message: String,
    hint: Option<String>,
}

/// What a command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: Code, message: impl Display) -> Self {
        Self {
            code: Some(code),
            message: message.to_string(),
            hint: None,
        }
    }

    /// A plain failure.
    pub(crate) fn plain(message: impl Display) -> Self {
        Self::new(Code::Failure, message)
    }

    /// A command line that says something wrong.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// stdout does not take more. A reader that has read enough is no failure.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                code: None,
                message: String::new(),
                hint: None,
            };
        }
        Self::plain(format!("stdout cannot be written: {error}"))
    }

    /// Says why on stderr, and with which code to exit.
    pub(crate) fn report(&self) -> ExitCode {
        let Some(code) = self.code else {
            return ExitCode::SUCCESS;
        };
        crate::output::tell(format_args!("error: {}", self.message));
        if let Some(hint) = &self.hint {
            crate::output::tell(format_args!("hint: {hint}"));
        }
        ExitCode::from(code as u8)
    }
}
