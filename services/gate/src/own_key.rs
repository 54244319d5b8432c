//! The gate's own key, which a thread keeps certified: it waits for `identity`, so that nobody else
//! has to.

use std::path::PathBuf;
use std::thread::{Builder, sleep};
use std::time::Duration;

use octet_node::sub_key::{Certified, SubKey};
use tokio::sync::mpsc::UnboundedSender;

/// Room for the thread's stack, in bytes.
const STACK: usize = 128 << 10;

/// The pause before `identity` is asked again: about as long as it takes to be started again.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const MOST: Duration = Duration::from_secs(5);

/// What is known of the key.
#[derive(Debug)]
pub enum News {
    /// It is certified: from before, or anew.
    Certified(Box<Certified>),
    /// It is not, for this reason; another try follows.
    Not(String),
}

/// Keeps the key in `folder` certified by `identity`, which listens at `socket`, and tells `news`.
///
/// # Errors
/// There are no threads to be had.
pub fn keep(
    folder: Option<PathBuf>,
    socket: PathBuf,
    news: UnboundedSender<News>,
) -> std::io::Result<()> {
    let run = move || {
        let mut pause = PAUSE;
        // The receiver lives as long as the gate.
        let tell = |what| drop(news.send(what));
        let mut key = loop {
            match SubKey::open(folder.clone(), socket.clone()) {
                Ok(key) => break key,
                Err(error) => tell(News::Not(format!("the gate's key cannot be read: {error}"))),
            }
            sleep(MOST);
        };
        if let Some(certified) = key.kept() {
            tell(News::Certified(Box::new(certified)));
        }
        loop {
            let followed = key.follow(|certified| {
                pause = PAUSE;
                tell(News::Certified(Box::new(certified)));
            });
            let Err(error) = followed;
            tell(News::Not(error.to_string()));
            sleep(pause);
            pause = (pause * 2).min(MOST);
        }
    };
    Builder::new().name("identity".into()).stack_size(STACK).spawn(run).map(drop)
}
