//! Why a command ends without a result.
//!
//! Owns the one error that reaches `main`: its message and its exit code. Every module that can fail makes it.

use std::io;
use std::process::ExitCode;

/// Why the program ends without a result.
#[derive(Debug)]
pub struct Failure {
    /// `None`: the reader of the output went away, which is his right.
    message: Option<String>,
    code: u8,
}

impl Failure {
    /// A value the user gave cannot be used.
    pub fn input(message: String) -> Failure {
        Failure {
            message: Some(message),
            code: 2,
        }
    }

    /// The run itself failed.
    pub fn run(message: String) -> Failure {
        Failure {
            message: Some(message),
            code: 1,
        }
    }

    /// What to print.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// What to exit with.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<io::Error> for Failure {
    /// For writing to stdout.
    fn from(error: io::Error) -> Failure {
        let closed = error.kind() == io::ErrorKind::BrokenPipe;
        Failure {
            message: (!closed).then(|| format!("cannot write the output: {error}")),
            code: u8::from(!closed),
        }
    }
}
