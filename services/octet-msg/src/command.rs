//! Runs the commands.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use octet_messages::courier::{Courier, CourierError};
use octet_messages::follow;
use octet_messages::invite::{InvalidInvite, Invite};
use octet_messages::limits::MAX_TEXT;
use octet_messages::person::{Person, PersonEvent};
use octet_messages::quic::{MailboxClient, now};
use octet_messages::safety;
use octet_messages::store::PersonStoreError;
use octet_node::control::{PublicKey, print};
use octet_node::key::NoRandomness;
use octet_node::words::WordsError;

use crate::cli::{CommandAction, CommandLine};
use crate::profile::UnlockedProfile;
use crate::{backup, box_command, output, profile, qr};

/// Why a command has failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandFailure {
    #[error(
        "neither XDG_CONFIG_HOME nor HOME says where your files are: name a folder with --folder"
    )]
    NoHome,
    #[error("there is somebody in {} already, or something else: name another folder with --folder", .0.display())]
    Existing(PathBuf),
    /// An interrupted `init` or `restore` has left this folder.
    #[error("{} is left of an interrupted `init` or `restore`, and has no identity: delete it", .0.display())]
    Interrupted(PathBuf),
    #[error("there is a file {} already: name another", .0.display())]
    ExistingFile(PathBuf),
    /// The file is not a backup.
    #[error("{}: this is not a back-up of version 1, or not all of it: take another copy", .0.display())]
    NoBackup(PathBuf),
    /// Decryption of the backup has failed.
    #[error(
        "{}: the passphrase is not the one that your messages had when this back-up was made, or the file was altered: \
         try another", .0.display()
    )]
    Sealed(PathBuf),
    #[error("{path}: {error}: see that it can be read and written by you", path = .0.display(), error = .1)]
    Disk(PathBuf, io::Error),
    /// There are too many mailboxes, or duplicates.
    #[error("you can have three mailboxes at most: name each once with --mailbox")]
    Mailboxes,
    /// Generating keys has failed.
    #[error("no keys could be made: try again")]
    Keys,
    /// The file with the key derivation is damaged or missing.
    #[error(
        "the file `passphrase` beside your messages is damaged or missing: put it back from a copy"
    )]
    Damaged,
    #[error("there is no passphrase in it: type one, or put one into the file")]
    NoPassphrase,
    #[error("the two are not the same: begin again")]
    NotTheSame,
    #[error("there is no terminal to ask for the passphrase: name a file with --passphrase-file")]
    NoTerminal,
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Invite(#[from] InvalidInvite),
    #[error(
        "you have no contact `{0}`: `octet-msg people` lists your contacts, and `add` adds one"
    )]
    UnknownContact(String),
    #[error("`{0}` is the name of another contact: choose another name")]
    NameTaken(String),
    #[error("`{0}` is not a name: write 1 to 64 letters, digits, `-` and `_`")]
    Name(String),
    /// The operator's key is missing or damaged.
    #[error("{}: there is no key of an operator in it: name another file with --key", .0.display())]
    NoKey(PathBuf),
    /// The name of the unit is invalid.
    #[error("`{0}` is the name of no unit: write `status`, `boards`, or UNIT VERB NAME=VALUE…")]
    NoUnit(String),
    /// The command is invalid.
    #[error("{0}: {help}", help = .0.help())]
    Words(#[from] WordsError),
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    /// The message store has failed.
    #[error(transparent)]
    Store(#[from] PersonStoreError),
    #[error(transparent)]
    Courier(#[from] CourierError),
}

/// Runs `line`.
pub fn run(line: CommandLine) -> Result<(), CommandFailure> {
    if let CommandAction::Receive { follow: true } = line.command {
        return follow(&profile::unlock(&line)?).map(|never| match never {});
    }
    let (mut courier, passphrase) = match &line.command {
        CommandAction::Init { mailbox } => profile::create(&line, mailbox.clone())?,
        CommandAction::Restore { file } => profile::restore(&line, file)?,
        _ => profile::open(&line)?,
    };
    match line.command {
        CommandAction::Init { .. } => init(&mut courier)?,
        CommandAction::Invite { line } => invite(&courier.person().invite(), line)?,
        CommandAction::Add { name, invite } => add(&mut courier, name, &invite)?,
        CommandAction::Send { name, text } => send(&mut courier, &name, text)?,
        CommandAction::Command(order) => {
            let text = box_command::sign(courier.person(), &order)?;
            send(&mut courier, &order.name, text)?;
        }
        CommandAction::Receive { .. } => receive(&mut courier)?,
        CommandAction::History { name } => history(&mut courier, name.as_deref())?,
        CommandAction::Backup { file } => back_up(courier.person(), &file, &passphrase)?,
        CommandAction::Restore { .. } => restored(&mut courier)?,
        CommandAction::People => people(courier.person())?,
    }
    // The previous content of this file becomes undecryptable.
    Ok(courier.store().rotate()?)
}

fn init(courier: &mut Courier<MailboxClient>) -> Result<(), CommandFailure> {
    print(&format!("you are {}\n", courier.person().name()))?;
    print(&format!(
        "who owns your mailbox lets you in: octetctl messenger admit {}\n",
        courier.person().name()
    ))?;
    deliver(courier)
}

fn back_up(person: &Person, file: &Path, passphrase: &[u8]) -> Result<(), CommandFailure> {
    backup::write(file, &person.backup(), passphrase)?;
    print(&format!(
        "{} says who you are and whom you know: the passphrase of your messages opens it\n",
        file.display()
    ))?;
    Ok(())
}

fn restored(courier: &mut Courier<MailboxClient>) -> Result<(), CommandFailure> {
    print(&format!("you are {}\n", courier.person().name()))?;
    print("whom you know is asked for what waits for you; be this person in no other folder\n")?;
    deliver(courier)
}

fn invite(invite: &Invite, line_alone: bool) -> Result<(), CommandFailure> {
    print(&format!("{invite}\n"))?;
    if !line_alone && let Some(code) = qr::render(&invite.to_string()) {
        print(&format!("\n{code}"))?;
    }
    Ok(())
}

fn add(
    courier: &mut Courier<MailboxClient>,
    name: String,
    invite: &str,
) -> Result<(), CommandFailure> {
    let is_letter = |letter: char| letter.is_alphanumeric() || "-_".contains(letter);
    if name.is_empty() || name.chars().count() > 64 || !name.chars().all(is_letter) {
        return Err(CommandFailure::Name(name));
    }
    let invite: Invite = invite.parse()?;
    let is_taken = |(who, alias): (&PublicKey, &str)| alias == name && *who != invite.name;
    if courier.person().contacts().any(is_taken) {
        return Err(CommandFailure::NameTaken(name));
    }
    let (me, other) = (courier.person().name(), invite.name);
    courier.apply(PersonEvent::Add(invite, name.clone()), now())?;
    print(&format!("{name} is {other}\n"))?;
    print(&format!(
        "both see the same number, if nobody stands between you: {}\n",
        safety::number(&me, &other)
    ))?;
    Ok(())
}

fn send(
    courier: &mut Courier<MailboxClient>,
    name: &str,
    text: String,
) -> Result<(), CommandFailure> {
    let to = find(courier.person(), name)?;
    let text = if text == "-" { read_input()? } else { text };
    courier.apply(PersonEvent::Write(to, text), now())?;
    deliver(courier)?;
    let waiting = courier.person().undeposited(&to);
    match waiting {
        0 => print(&format!("left at the mailbox of {name}\n"))?,
        _ => print(&format!(
            "kept here: {waiting} for {name}; the next `send` or `receive` tries again\n"
        ))?,
    }
    Ok(())
}

fn read_input() -> Result<String, CommandFailure> {
    let mut text = String::new();
    let read = io::stdin().take(MAX_TEXT as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| CommandFailure::Disk("the input".into(), error))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

fn receive(courier: &mut Courier<MailboxClient>) -> Result<(), CommandFailure> {
    // Mailboxes must know their owner before messages can be fetched. What fails here is tried
    // again below, and reported there.
    courier.deliver(now())?;
    let fetched = courier.fetch(now());
    if let Err(CourierError::Store(error)) = fetched {
        return Err(error.into());
    }
    show(courier)?;
    let mut left = courier.deliver(now())?;
    let fetched = fetched.map(|others| left.extend(others));
    warn(&left);
    Ok(fetched?)
}

/// Prints messages as they arrive.
fn follow(profile: &UnlockedProfile) -> Result<Infallible, CommandFailure> {
    let client = profile.client()?;
    follow::follow(
        client,
        |client| profile.open_with(client, None),
        show,
        |warning| eprintln!("warning: {warning}"),
    )
}

/// Prints the messages that were not shown yet.
fn show(courier: &mut Courier<MailboxClient>) -> Result<(), CommandFailure> {
    let (end, shown) = courier.person().history();
    let lines = courier.store().history(shown, end)?;
    for line in lines.iter().filter(|line| line.received) {
        // `print` would ignore a closed pipe; unread messages must be shown again.
        let text =
            format!("{}\n", output::entry(line, &display_name(courier.person(), &line.peer)));
        io::stdout().lock().write_all(text.as_bytes())?;
    }
    // If the process ends before this, the messages are shown again.
    if end > shown {
        courier.apply(PersonEvent::Shown(end), now())?;
    }
    Ok(())
}

fn history(courier: &mut Courier<MailboxClient>, name: Option<&str>) -> Result<(), CommandFailure> {
    let only = name.map(|name| find(courier.person(), name)).transpose()?;
    let (end, _) = courier.person().history();
    for line in courier.store().history(0, end)? {
        if only.is_none_or(|only| only == line.peer) {
            print(&format!(
                "{}\n",
                output::entry(&line, &display_name(courier.person(), &line.peer))
            ))?;
        }
    }
    Ok(())
}

fn people(person: &Person) -> Result<(), CommandFailure> {
    print(&format!("you: {}\n", person.name()))?;
    for (name, _) in person.contacts() {
        let number = safety::number(&person.name(), name);
        print(&format!("{}: {name}\n    {number}\n", display_name(person, name)))?;
    }
    Ok(())
}

/// Sends what is pending, and warns about failures.
fn deliver(courier: &mut Courier<MailboxClient>) -> Result<(), CommandFailure> {
    warn(&courier.deliver(now())?);
    Ok(())
}

/// Prints each distinct warning once.
fn warn(left: &[CourierError]) {
    for warning in left.iter().map(ToString::to_string).collect::<BTreeSet<_>>() {
        eprintln!("warning: {warning}");
    }
}

/// The contact with this alias or public key.
pub fn find(person: &Person, name: &str) -> Result<PublicKey, CommandFailure> {
    let is_called = |(who, alias): &(&PublicKey, &str)| {
        (!alias.is_empty() && *alias == name) || who.to_string() == name
    };
    let found = person.contacts().find(is_called).map(|(who, _)| *who);
    found.ok_or_else(|| CommandFailure::UnknownContact(name.to_owned()))
}

/// The alias of a contact; the public key of one without an alias, who has written uninvited.
fn display_name(person: &Person, peer: &PublicKey) -> String {
    let alias = person.contacts().find(|(name, _)| *name == peer).map(|(_, alias)| alias);
    match alias {
        Some(alias) if !alias.is_empty() => alias.to_owned(),
        _ => peer.to_string(),
    }
}
