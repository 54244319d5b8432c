//! A thread that keeps a service's key certified: it waits for `identity`, so that nobody else has to.

use std::path::PathBuf;
use std::thread::{Builder, sleep};
use std::time::Duration;

use super::{Certified, SubKey};

/// Room for the thread's stack, in bytes.
const STACK: usize = 128 << 10;

/// The pause before `identity` is asked again: about as long as it takes to be started again.
const RETRY_DELAY: Duration = Duration::from_millis(200);

const MAX: Duration = Duration::from_secs(5);

/// What is known of the key.
#[derive(Debug)]
pub enum KeyUpdate {
    /// It is certified: from before, or anew.
    Certified(Box<Certified>),
    /// It is not, for this reason; another try follows.
    Not(String),
}

/// Keeps the key in `folder` certified by `identity`, which listens at `socket`, and says so to `tell`.
///
/// # Errors
/// There are no threads to be had.
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
                    tell(KeyUpdate::Not(format!("the service's key cannot be read: {error}")));
                }
            }
            sleep(MAX);
        };
        if let Some(certified) = key.kept() {
            tell(KeyUpdate::Certified(Box::new(certified)));
        }
        loop {
            let followed = key.follow(|certified| {
                pause = RETRY_DELAY;
                tell(KeyUpdate::Certified(Box::new(certified)));
            });
            let Err(error) = followed;
            tell(KeyUpdate::Not(error.to_string()));
            sleep(pause);
            pause = (pause * 2).min(MAX);
        }
    };
    Builder::new().name("identity".into()).stack_size(STACK).spawn(run).map(drop)
}
