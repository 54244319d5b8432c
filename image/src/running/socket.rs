//! The socket by which `cargo image box` reaches the machines of `cargo image run`: each line is an [`Action`], the
//! answer is one line, too. It lies in the folder of the box, which only its owner can open.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};

use super::machines::{MachineRow, Machines, PowerAction};

/// No line is longer, in bytes.
const MAX_LINE: u64 = 64 << 10;

/// How long a client may take for its line.
const LINE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(Vec<MachineRow>),
    Refused { error: String, help: Option<String> },
}

#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum BoxError {
    #[error("the box does not answer: {0}")]
    #[diagnostic(help("it has just ended, or was started by another version of `cargo image`"))]
    Io(#[from] io::Error),
    /// The answer is no answer.
    #[error("the box has answered with something else: {0}")]
    #[diagnostic(help("it was started by another version of `cargo image`; start it again"))]
    Json(#[from] serde_json::Error),
    #[error("{error}")]
    Refused {
        error: String,
        #[help]
        help: Option<String>,
    },
}

/// Where the socket is, of the box whose router has its sockets in this folder.
pub fn path(sockets: &Path) -> PathBuf {
    sockets.join("box")
}

/// Does what is asked at `path`, one thing after another, until the machines are gone.
pub fn serve(path: &Path, machines: &Arc<Machines>) -> io::Result<()> {
    let listener = UnixListener::bind(path)?;
    let machines = Arc::downgrade(machines);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Some(strong) = Weak::upgrade(&machines) else { return };
            // Whoever has gone does not read why.
            let _ = answer(&client, &strong);
        }
    });
    Ok(())
}

fn answer(mut client: &UnixStream, machines: &Arc<Machines>) -> io::Result<()> {
    client.set_read_timeout(Some(LINE_TIMEOUT))?;
    client.set_write_timeout(Some(LINE_TIMEOUT))?;
    let action = serde_json::from_str(&line(client)?)?;
    let answer = match machines.perform(action) {
        Ok(rows) => Answer::Done(rows),
        Err(error) => Answer::Refused {
            error: error.to_string(),
            help: error.help().map(|it| it.to_string()),
        },
    };
    writeln!(client, "{}", serde_json::to_string(&answer)?)
}

/// Has it done at the socket `path`. Returns how all machines are then.
pub fn request(path: &Path, action: PowerAction) -> Result<Vec<MachineRow>, BoxError> {
    let mut stream = UnixStream::connect(path)?;
    writeln!(stream, "{}", serde_json::to_string(&action)?)?;
    match serde_json::from_str(&line(&stream)?)? {
        Answer::Done(rows) => Ok(rows),
        Answer::Refused { error, help } => Err(BoxError::Refused { error, help }),
    }
}

fn line(stream: &UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut line)?;
    Ok(line)
}
