//! What each command does.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use octet_messages::courier::{Courier, CourierError};
use octet_messages::invite::{InvalidInvite, Invite};
use octet_messages::limits::TEXT;
use octet_messages::person::{Event, Person};
use octet_messages::quic::{Client, now};
use octet_messages::safety;
use octet_messages::store::StoreError;
use octet_node::control::PublicKey;
use octet_node::key::NoRandomness;
use octet_node::words::WordsError;

use crate::line::{Command, Line};
use crate::{backup, home, order, qr, show};

/// Why a command comes to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// There is no folder.
    #[error(
        "neither XDG_CONFIG_HOME nor HOME says where your files are: name a folder with --folder"
    )]
    Homeless,
    /// There is somebody.
    #[error("there is somebody in {} already, or something else: name another folder with --folder", .0.display())]
    Existing(PathBuf),
    /// Somebody was not made to the end.
    #[error("{} is left of an `init` or `restore` that was cut: nobody is in it, take it away", .0.display())]
    Cut(PathBuf),
    /// There is a file.
    #[error("there is a file {} already: name another", .0.display())]
    ExistingFile(PathBuf),
    /// The file is no back-up.
    #[error("{}: this is no back-up of version 1, or not all of it: take another copy", .0.display())]
    NoBackup(PathBuf),
    /// The back-up does not open.
    #[error(
        "{}: the passphrase is not the one that your letters had when this back-up was made, or the file was altered: \
         try another", .0.display()
    )]
    Sealed(PathBuf),
    /// The disk does not give or take it.
    #[error("{path}: {error}: see that it can be read and written by you", path = .0.display(), error = .1)]
    Disk(PathBuf, io::Error),
    /// There are too many mailboxes, or one is named twice.
    #[error("you can have three mailboxes at most: name each once with --mailbox")]
    Mailboxes,
    /// No keys can be made.
    #[error("no keys could be made: try again")]
    Keys,
    /// The file beside the keys is none.
    #[error(
        "the file `passphrase` beside your letters is damaged or missing: put it back from a copy"
    )]
    Damaged,
    /// Nothing was typed.
    #[error("there is no passphrase in it: type one, or put one into the file")]
    NoPassphrase,
    /// Two were typed.
    #[error("the two are not the same: begin again")]
    NotTheSame,
    /// Nobody can be asked.
    #[error("there is no terminal to ask for the passphrase: name a file with --passphrase-file")]
    NoTerminal,
    /// There is no randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The invite is none.
    #[error(transparent)]
    Invite(#[from] InvalidInvite),
    /// Nobody is called so.
    #[error(
        "you call nobody `{0}`: `octet-msg people` shows whom you know, and `add` adds somebody"
    )]
    Nobody(String),
    /// Somebody is called so.
    #[error("you call somebody else `{0}`: take another name")]
    Taken(String),
    /// The name is none.
    #[error("a name has 1 to 64 letters, digits, `-` and `_`: `{0}` is none")]
    Name(String),
    /// There is no key of an operator.
    #[error("{}: there is no key of an operator in it: name another file with --key", .0.display())]
    NoKey(PathBuf),
    /// There is no such unit anywhere.
    #[error("`{0}` is the name of no unit: write `status`, `boards`, or UNIT VERB NAME=VALUE…")]
    NoUnit(String),
    /// The command cannot be said.
    #[error("{0}: {help}", help = .0.help())]
    Words(#[from] WordsError),
    /// The letters are not to be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A mailbox would not.
    #[error(transparent)]
    Courier(#[from] CourierError),
}

/// Does what `line` says.
pub fn run(line: Line) -> Result<(), Failed> {
    let (mut courier, passphrase) = match &line.command {
        Command::Init { mailbox } => home::make(&line, mailbox.clone())?,
        Command::Restore { file } => home::restore(&line, file)?,
        _ => home::open(&line)?,
    };
    match line.command {
        Command::Init { .. } => init(&mut courier)?,
        Command::Invite { line } => invite(&courier.person().invite(), line),
        Command::Add { name, invite } => add(&mut courier, name, &invite)?,
        Command::Send { name, text } => send(&mut courier, &name, text)?,
        Command::Order(order) => {
            let text = order::sign(courier.person(), &order)?;
            send(&mut courier, &order.name, text)?;
        }
        Command::Receive => receive(&mut courier)?,
        Command::History { name } => history(&mut courier, name.as_deref())?,
        Command::Backup { file } => back_up(courier.person(), &file, &passphrase)?,
        Command::Restore { .. } => restored(&mut courier)?,
        Command::People => people(courier.person()),
    }
    // What this file had before can be read by nobody from now on.
    Ok(courier.store().rotate()?)
}

fn init(courier: &mut Courier<Client>) -> Result<(), Failed> {
    println!("you are {}", courier.person().name());
    println!(
        "who owns your mailbox lets you in: octetctl messenger admit {}",
        courier.person().name()
    );
    deliver(courier)
}

fn back_up(person: &Person, file: &Path, passphrase: &[u8]) -> Result<(), Failed> {
    backup::write(file, &person.backup(), passphrase)?;
    println!(
        "{} says who you are and whom you know: the passphrase of your letters opens it",
        file.display()
    );
    Ok(())
}

fn restored(courier: &mut Courier<Client>) -> Result<(), Failed> {
    println!("you are {}", courier.person().name());
    println!("whom you know is asked for what waits for you; be this person in no other folder");
    deliver(courier)
}

fn invite(invite: &Invite, line_alone: bool) {
    println!("{invite}");
    if !line_alone && let Some(code) = qr::of(&invite.to_string()) {
        print!("\n{code}");
    }
}

fn add(courier: &mut Courier<Client>, name: String, invite: &str) -> Result<(), Failed> {
    let is_letter = |letter: char| letter.is_alphanumeric() || "-_".contains(letter);
    if name.is_empty() || name.chars().count() > 64 || !name.chars().all(is_letter) {
        return Err(Failed::Name(name));
    }
    let invite: Invite = invite.parse()?;
    let is_taken = |(who, alias): (&PublicKey, &str)| alias == name && *who != invite.name;
    if courier.person().peers().any(is_taken) {
        return Err(Failed::Taken(name));
    }
    let (me, other) = (courier.person().name(), invite.name);
    courier.tell(Event::Add(invite, name.clone()), now())?;
    println!("{name} is {other}");
    println!(
        "both see the same number, if nobody stands between you: {}",
        safety::number(&me, &other)
    );
    Ok(())
}

fn send(courier: &mut Courier<Client>, name: &str, text: String) -> Result<(), Failed> {
    let to = find(courier.person(), name)?;
    let text = if text == "-" { read_input()? } else { text };
    courier.tell(Event::Write(to, text), now())?;
    deliver(courier)?;
    let waiting = courier.person().waiting(&to);
    match waiting {
        0 => println!("left at the mailbox of {name}"),
        _ => println!("kept here: {waiting} for {name}; the next `send` or `receive` tries again"),
    }
    Ok(())
}

fn read_input() -> Result<String, Failed> {
    let mut text = String::new();
    let read = io::stdin().take(TEXT as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| Failed::Disk("the input".into(), error))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

fn receive(courier: &mut Courier<Client>) -> Result<(), Failed> {
    // The mailboxes must know whose they are. What is left undone is tried again below, and said there.
    courier.deliver(now())?;
    let fetched = courier.fetch(now());
    if let Err(CourierError::Store(error)) = fetched {
        return Err(error.into());
    }
    let (end, shown) = courier.person().history();
    let lines = courier.store().history(shown, end)?;
    for line in lines.iter().filter(|line| line.received) {
        println!("{}", show::entry(line, &call(courier.person(), &line.peer)));
    }
    // After a cut at this very moment they are shown once more.
    courier.tell(Event::Shown(end), now())?;
    let mut left = courier.deliver(now())?;
    let fetched = fetched.map(|others| left.extend(others));
    warn(&left);
    Ok(fetched?)
}

fn history(courier: &mut Courier<Client>, name: Option<&str>) -> Result<(), Failed> {
    let only = name.map(|name| find(courier.person(), name)).transpose()?;
    let (end, _) = courier.person().history();
    for line in courier.store().history(0, end)? {
        if only.is_none_or(|only| only == line.peer) {
            println!("{}", show::entry(&line, &call(courier.person(), &line.peer)));
        }
    }
    Ok(())
}

fn people(person: &Person) {
    println!("you: {}", person.name());
    for (name, _) in person.peers() {
        let number = safety::number(&person.name(), name);
        println!("{}: {name}\n    {number}", call(person, name));
    }
}

/// Does what is to be done, and says what could not be.
fn deliver(courier: &mut Courier<Client>) -> Result<(), Failed> {
    warn(&courier.deliver(now())?);
    Ok(())
}

/// Says of each trouble once that there is it.
fn warn(left: &[CourierError]) {
    for warning in left.iter().map(ToString::to_string).collect::<BTreeSet<_>>() {
        eprintln!("warning: {warning}");
    }
}

/// Whom this person calls `name`, or who is that.
pub fn find(person: &Person, name: &str) -> Result<PublicKey, Failed> {
    let is_called = |(who, alias): &(&PublicKey, &str)| {
        (!alias.is_empty() && *alias == name) || who.to_string() == name
    };
    let found = person.peers().find(is_called).map(|(who, _)| *who);
    found.ok_or_else(|| Failed::Nobody(name.to_owned()))
}

/// What this person calls somebody: who has written by themselves has only their key.
fn call(person: &Person, peer: &PublicKey) -> String {
    let alias = person.peers().find(|(name, _)| *name == peer).map(|(_, alias)| alias);
    match alias {
        Some(alias) if !alias.is_empty() => alias.to_owned(),
        _ => peer.to_string(),
    }
}
