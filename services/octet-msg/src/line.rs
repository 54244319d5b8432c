//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use octet_messages::place::Place;
use octet_node::control::PublicKey;

/// Letters to people and boxes, by public key
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Line {
    /// Where your letters are kept; without it ~/.config/octet/letters
    #[arg(long, global = true, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,

    /// A file whose first line is the passphrase; without it you are asked
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make your keys, and say where your mailboxes are
    Init {
        /// A mailbox, three at most: the name that `octetctl messenger status` shows there, and its address
        #[arg(long, value_name = "did:key:…@ADDRESS:PORT", required = true)]
        mailbox: Vec<Place>,
    },
    /// Show the line by which others find you, and the same as a QR code
    Invite {
        /// The line alone
        #[arg(long)]
        line: bool,
    },
    /// Know somebody by a name of your own
    Add {
        /// What you call them
        name: String,
        /// The line that they have given you
        invite: String,
    },
    /// Write to somebody
    Send {
        /// What you call them
        name: String,
        /// What you write; `-` reads it from the input
        text: String,
    },
    /// Write a signed command to a box; its answer comes as a letter
    #[command(name = "command")]
    Order(Order),
    /// Show what has come, and leave what has not gone out yet
    Receive,
    /// Show what was written and received
    History {
        /// With whom; without it all
        name: Option<String>,
    },
    /// Put who you are and whom you know into a file, sealed with your passphrase; letters are not in it
    Backup {
        /// A file that is not there yet; keep it where the folder is not lost with it
        file: PathBuf,
    },
    /// Be who you were, when the folder of your letters is lost: by a back-up and its passphrase
    Restore {
        /// The file that `backup` has written
        file: PathBuf,
    },
    /// Show whom you know, and the numbers to compare with them
    People,
}

/// A command to a box.
#[derive(Debug, Args)]
pub struct Order {
    /// The file of the operator's key; without it ~/.config/octet/key
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// For how long it is good, 24 hours at most
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub good_for: Duration,
    /// Another board of the box, which is to do it: its node, as `boards` shows it
    #[arg(long, value_name = "did:key:…")]
    pub board: Option<PublicKey>,
    /// What you call the box
    pub name: String,
    /// `help`, `status`, `boards`, `subscribe alerts` or `unsubscribe alerts`, or UNIT VERB NAME=VALUE…; `init` is PID 1
    #[arg(required = true, value_name = "WORD")]
    pub words: Vec<String>,
}
