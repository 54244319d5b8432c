//! A thread that keeps a service's key certified, so that the service does not block on `identity`.

use std::path::PathBuf;
use std::thread::{Builder, sleep};
use std::time::Duration;

use super::{Certified, SubKey};

/// The thread's stack size, in bytes.
const STACK: usize = 128 << 10;

/// The pause before `identity` is called again: about the time of its restart.
const RETRY_DELAY: Duration = Duration::from_millis(200);

const MAX: Duration = Duration::from_secs(5);

/// The state of the key.
#[derive(Debug)]
pub enum KeyUpdate {
    /// It is certified, by a stored or a new certificate.
    Certified(Box<Certified>),
    /// It is not certified for this reason, which is reported once; another attempt follows.
    NotCertified(String),
}

/// Keeps the key in `folder` certified by `identity`, which listens at `socket`, and reports its state to
/// `tell`.
///
/// # Errors
/// No thread can be started.
pub fn keep(
    folder: Option<PathBuf>,
    socket: PathBuf,
    mut tell: impl FnMut(KeyUpdate) + Send + 'static,
) -> std::io::Result<()> {
    let run = move || {
        let mut pause = RETRY_DELAY;
        let mut key = loop {
            match SubKey::open(folder.clone(), socket.clone()) {
                Ok(key) => break key,
                Err(error) => {
                    tell(KeyUpdate::NotCertified(format!(
                        "the service's key cannot be read: {error}"
                    )));
                }
            }
            sleep(MAX);
        };
        if let Some(certified) = key.cached() {
            tell(KeyUpdate::Certified(Box::new(certified)));
        }
        let mut problem = String::new();
        loop {
            let followed = key.follow(|certified| {
                (pause, problem) = (RETRY_DELAY, String::new());
                tell(KeyUpdate::Certified(Box::new(certified)));
            });
            let Err(error) = followed;
            let error = error.to_string();
            if error != problem {
                problem.clone_from(&error);
                tell(KeyUpdate::NotCertified(error));
            }
            sleep(pause);
            pause = (pause * 2).min(MAX);
        }
    };
    Builder::new().name("identity".into()).stack_size(STACK).spawn(run).map(drop)
}

/// Keeps the key in the same way, and logs why it is not certified. The value is the key once it is.
///
/// # Errors
/// No thread can be started.
#[cfg(feature = "watch")]
pub fn certified(
    folder: Option<PathBuf>,
    socket: PathBuf,
) -> std::io::Result<tokio::sync::watch::Receiver<Option<Certified>>> {
    let (sender, certified) = tokio::sync::watch::channel(None);
    keep(folder, socket, move |update| match update {
        KeyUpdate::Certified(next) => drop(sender.send_replace(Some(*next))),
        KeyUpdate::NotCertified(why) => {
            crate::say!("this service's key is not certified now: {why}");
        }
    })?;
    Ok(certified)
}
