//! Runs programs. A missing program fails the test, because a skipped check would go unnoticed.

use std::process::Command;

/// The exit status and the output of a program.
#[derive(Debug)]
pub struct Output {
    /// The exit status; `None` if a signal has ended it.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `command` to its end.
pub fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    let output = output.unwrap_or_else(|error| {
        panic!("`{program}`: {error}; `cargo image test --setup` installs what tests need")
    });
    Output {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `command`, which must succeed.
pub fn must(command: &mut Command) -> Output {
    let output = run(command);
    assert_eq!(output.status, Some(0), "{command:?}:\n{}{}", output.stdout, output.stderr);
    output
}
