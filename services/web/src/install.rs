//! The installation of an update from a file of the owner's browser: received into a file without a name, then sent to the
//! node as its unit asks for it. One at a time.

use std::fs::File;
use std::io;

use octet_control::CallError;
use octet_control::file::{FileArg, LocalFile, Source};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::app::App;
use crate::nodes::NodeError;

pub const UPDATE: &str = "update";
const INSTALL: &str = "install";

/// Lines of progress that are kept of what the unit says.
const MAX_NOTES: usize = 64;

/// How far an installation is.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum InstallState {
    #[default]
    Idle,
    /// The browser sends the file.
    Receiving,
    /// The node has asked for this part of the file, in bytes; and what it has said.
    Sending {
        sent: u64,
        size: u64,
        notes: Vec<Value>,
    },
    /// The answer of the unit.
    Installed(Value),
    Failed {
        message: String,
        help: String,
    },
}

impl InstallState {
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Receiving | Self::Sending { .. })
    }
}

#[derive(Debug, Default)]
pub struct Installation {
    state: watch::Sender<InstallState>,
}

impl Installation {
    pub fn state(&self) -> InstallState {
        self.state.borrow().clone()
    }

    pub fn follow(&self) -> watch::Receiver<InstallState> {
        self.state.subscribe()
    }

    /// Begins to receive a file; `false` if another installation runs.
    pub fn begin(&self) -> bool {
        self.state.send_if_modified(|state| {
            let is_free = !state.is_running();
            if is_free {
                *state = InstallState::Receiving;
            }
            is_free
        })
    }

    pub fn fail(&self, message: &str, help: &str) {
        let failed = InstallState::Failed { message: message.to_owned(), help: help.to_owned() };
        self.state.send_replace(failed);
    }
}

/// Sends `file` to the unit `update` of `node`, and keeps the verdict. It blocks.
pub fn install(app: &App, node: u8, file: File) {
    let state = &app.installation.state;
    match send(app, node, file, state) {
        Ok(answer) => {
            state.send_replace(InstallState::Installed(answer));
        }
        Err(why) => app.installation.fail(&why.to_string(), why.help()),
    }
}

fn send(
    app: &App,
    node: u8,
    file: File,
    state: &watch::Sender<InstallState>,
) -> Result<Value, NodeError> {
    let size = file.metadata().map_err(CallError::File)?.len();
    state.send_replace(InstallState::Sending { sent: 0, size, notes: vec![] });
    let mut client = app.nodes.stream(node)?;
    client.set_unit(UPDATE.parse().ok());
    let mut source = CountedFile { file: LocalFile::File(file, size), size, state };
    let args = json!({ "file": source.describe() });
    let args = args.as_object().cloned().unwrap_or_default();
    let answer = client.call_with(INSTALL, args, Some(&mut source), |item| {
        state.send_modify(|state| {
            if let InstallState::Sending { notes, .. } = state
                && notes.len() < MAX_NOTES
            {
                notes.push(item.clone());
            }
        });
        true
    })?;
    Ok(answer)
}

/// A file that says how much of it was asked for.
struct CountedFile<'a> {
    file: LocalFile,
    size: u64,
    state: &'a watch::Sender<InstallState>,
}

impl Source for CountedFile<'_> {
    fn describe(&self) -> FileArg {
        self.file.describe()
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(at, buffer)?;
        let end = at + count as u64;
        let percent = |bytes: u64| bytes.saturating_mul(100) / self.size.max(1);
        self.state.send_if_modified(|state| match state {
            // Pages show whole percents.
            InstallState::Sending { sent, .. } if percent(end) > percent(*sent) => {
                *sent = end;
                true
            }
            _ => false,
        });
        Ok(count)
    }
}
