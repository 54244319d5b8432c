//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use octet_messages::mailbox_address::MailboxAddress;
use octet_node::control::PublicKey;

/// End-to-end encrypted messages to people and boxes, by public key
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct CommandLine {
    /// The folder of your messages [default: ~/.config/octet/messages]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,

    /// A file whose first line is the passphrase; without it octet-msg prompts for it
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,

    /// What to do
    #[command(subcommand)]
    pub command: CommandAction,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum CommandAction {
    /// Generate your keys and set your mailboxes
    Init {
        /// A mailbox, up to three: the public key that `octetctl messenger status` shows there, and
        /// its address
        #[arg(long, value_name = "did:key:…@ADDRESS:PORT", required = true)]
        mailbox: Vec<MailboxAddress>,
    },
    /// Print your invitation, which others need to write to you, as a line and a QR code
    Invite {
        /// Print the line only
        #[arg(long)]
        line: bool,
    },
    /// Add a contact under a name that you choose
    Add {
        /// The contact's name
        name: String,
        /// The contact's invitation
        invite: String,
    },
    /// Send a message
    Send {
        /// The contact's name
        name: String,
        /// The text; `-` reads standard input
        text: String,
    },
    /// Send a signed command to a box; the answer is a message
    #[command(name = "command")]
    Command(BoxCommand),
    /// Fetch and print new messages, and send those that wait
    Receive {
        /// Also print messages when they arrive, until you interrupt it; other commands can be used
        /// meanwhile
        #[arg(long, short)]
        follow: bool,
    },
    /// Print the messages sent and received
    History {
        /// With this contact only
        name: Option<String>,
    },
    /// Write your keys and contacts to a file, encrypted with your passphrase; messages are not in
    /// it
    Backup {
        /// A new file; keep it on another disk than the folder
        file: PathBuf,
    },
    /// Restore your keys and contacts from a backup and its passphrase
    Restore {
        /// The file that `backup` has written
        file: PathBuf,
    },
    /// List your contacts, and the safety numbers to compare with them
    People,
}

/// A command to a box.
#[derive(Debug, Args)]
pub struct BoxCommand {
    /// The operator's key file [default: ~/.config/octet/key]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// How long it is valid, 24 hours at most
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub good_for: Duration,
    /// Another board of the box that runs it: its public key, as `boards` shows it
    #[arg(long, value_name = "did:key:…")]
    pub board: Option<PublicKey>,
    /// The box's contact name
    pub name: String,
    /// `help`, `status`, `boards`, `subscribe alerts` or `unsubscribe alerts`, or UNIT VERB
    /// NAME=VALUE…; `init` is PID 1
    #[arg(required = true, value_name = "WORD")]
    pub words: Vec<String>,
}
