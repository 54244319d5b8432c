//! The executed signed commands: each runs at most once, even after a crash.
//!
//! The file is replaced atomically, and contains the new id before its command runs. If the file is
//! damaged, all commands are refused, because any of them could have run already.
//!
//! The signers are stored in a separate file, which only the per-key limits need: without it
//! commands still run at most once, and the previous release, which does not know it, can read the
//! main file.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use octet_node::command::CommandId;
use octet_node::control::PublicKey;
use octet_node::durable::{self, ExistingFile, StoredFile, WriteStep};

/// The maximum number of remembered commands. Above it, no command runs.
const MAX: usize = 1024;

/// The number of these reserved for keys with `own`.
const FOR_OWN: usize = 512;

/// The maximum per key, so that a key cannot use up the room of others.
const OF_ONE: usize = 128;

/// The maximum per key with `own`.
const OF_ONE_OWN: usize = 256;

/// The maximum time until a command expires, in seconds: it must be remembered until then.
pub const AHEAD: u64 = 24 * 60 * 60;

/// The first word of the file: the version of the format.
const VERSION: &str = "octet-ids-1";

/// The first word of the file of signers.
const SIGNERS: &str = "octet-signers-1";

/// The maximum size of the file, in bytes: for each id 32 digits, a number and two separators, with
/// room to spare.
const LONGEST: u64 = 64 << 10;

/// The maximum size of the file of signers: for each id 32 digits, a key and two separators, with
/// room to spare.
const LONGEST_SIGNERS: u64 = 128 << 10;

/// The signer of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandSigner {
    pub key: PublicKey,
    /// Whether the signer has the capability `own`.
    pub own: bool,
}

/// An executed command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ExecutedCommand {
    id: CommandId,
    /// The expiry, in seconds since 1970.
    expires: u64,
    /// The signer, if known.
    by: Option<PublicKey>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ExecutedCommands {
    /// Commands that expire at or before this time were forgotten, and are refused.
    floor: u64,
    /// The remembered commands.
    ran: Vec<ExecutedCommand>,
}

/// The executed commands, or why the file is unusable.
#[derive(Debug)]
pub struct Ids {
    path: Option<PathBuf>,
    known: Result<ExecutedCommands, String>,
}

/// Why a command is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedCommand {
    #[error("this command was run before")]
    Replayed,
    #[error("the command has expired")]
    Expired,
    #[error("the command expires more than 24 hours ahead")]
    TooFarAhead,
    /// The maximum number of commands is remembered.
    #[error(
        "of the {MAX} commands that are remembered until they expire, no more may be of keys like this one"
    )]
    Full,
    /// The maximum number of this key's commands is remembered.
    #[error("{0} commands of this key are remembered until they expire, and no more may be")]
    TooMany(usize),
    /// The id could not be stored.
    #[error("the gate cannot remember that it runs this command: {0}")]
    Store(String),
}

impl Ids {
    /// Opens the file in `folder`. Without a folder no command ever runs, because it would run
    /// again after a reboot.
    pub fn open(folder: Option<&Path>) -> Self {
        let Some(path) = folder.map(|folder| folder.join("ids")) else {
            return Self { path: None, known: Err("there is no data partition".into()) };
        };
        let mut known = match durable::load(&path, LONGEST, parse) {
            Ok(StoredFile::Absent) => Ok(ExecutedCommands::default()),
            Ok(StoredFile::Value(known)) => Ok(known),
            Ok(StoredFile::Damaged) => Err(format!("{} is damaged", path.display())),
            Err(error) => Err(format!("{}: {error}", path.display())),
        };
        let signers = durable::load(&signers(&path), LONGEST_SIGNERS, parse_signers);
        if let (Ok(known), Ok(StoredFile::Value(signers))) = (&mut known, signers) {
            for ran in &mut known.ran {
                ran.by = signers.get(&ran.id).copied();
            }
        }
        Self { path: Some(path), known }
    }

    /// Why no command can run at all, if so.
    pub fn trouble(&self) -> Option<&str> {
        self.known.as_ref().err().map(String::as_str)
    }

    /// The number of remembered commands.
    pub fn count(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.ran.len())
    }

    /// A lower bound of the current time: commands up to this time were forgotten.
    pub fn floor(&self) -> u64 {
        self.known.as_ref().map_or(0, |known| known.floor)
    }

    /// Checks the expiry of a command that may run more than once, and so is not remembered.
    ///
    /// # Errors
    /// The command has expired, or no command can run at all.
    pub fn in_time(&self, expires: u64, now: u64) -> Result<(), RefusedCommand> {
        let known =
            self.known.as_ref().map_err(|problem| RefusedCommand::Store(problem.clone()))?;
        known.in_time(expires, now)
    }

    /// Records that command `id` of `by`, which expires at `expires`, runs at `now` (seconds since
    /// 1970). When this returns without an error, the record is on disk. `before` is called before
    /// each step of writing, and can abort it.
    ///
    /// # Errors
    /// The command must not run.
    pub fn run(
        &mut self,
        by: CommandSigner,
        id: CommandId,
        expires: u64,
        now: u64,
        before: impl FnMut(WriteStep) -> io::Result<()>,
    ) -> Result<(), RefusedCommand> {
        let known =
            self.known.as_mut().map_err(|problem| RefusedCommand::Store(problem.clone()))?;
        let path =
            self.path.as_ref().ok_or_else(|| RefusedCommand::Store("it has no place".into()))?;
        let next = known.with(by, id, expires, now)?;
        let store = |error: io::Error| RefusedCommand::Store(error.to_string());
        durable::replace(&signers(path), &encode_signers(&next)).map_err(store)?;
        durable::write(path, &encode(&next), ExistingFile::Replace, before).map_err(store)?;
        *known = next;
        Ok(())
    }
}

impl ExecutedCommands {
    /// Checks the expiry at `now`.
    fn in_time(&self, expires: u64, now: u64) -> Result<(), RefusedCommand> {
        if expires <= now || expires <= self.floor {
            return Err(RefusedCommand::Expired);
        }
        if expires > now.saturating_add(AHEAD) {
            return Err(RefusedCommand::TooFarAhead);
        }
        Ok(())
    }

    fn with(
        &self,
        by: CommandSigner,
        id: CommandId,
        expires: u64,
        now: u64,
    ) -> Result<Self, RefusedCommand> {
        self.in_time(expires, now)?;
        if self.ran.iter().any(|ran| ran.id == id) {
            return Err(RefusedCommand::Replayed);
        }
        let (mut ran, gone): (Vec<_>, Vec<_>) =
            self.ran.iter().copied().partition(|ran| ran.expires > now);
        let floor = gone.iter().map(|ran| ran.expires).fold(self.floor, u64::max);
        let (all, of_one) = if by.own { (MAX, OF_ONE_OWN) } else { (MAX - FOR_OWN, OF_ONE) };
        if ran.iter().filter(|ran| ran.by == Some(by.key)).count() >= of_one {
            return Err(RefusedCommand::TooMany(of_one));
        }
        if ran.len() >= all {
            return Err(RefusedCommand::Full);
        }
        ran.push(ExecutedCommand { id, expires, by: Some(by.key) });
        Ok(Self { floor, ran })
    }
}

/// The path of the file of signers.
fn signers(ids: &Path) -> PathBuf {
    ids.with_file_name("signers")
}

fn encode(known: &ExecutedCommands) -> Vec<u8> {
    let lines = known.ran.iter().map(|ran| format!("{} {}\n", hex(ran.id), ran.expires));
    summed(format!("{VERSION} {}\n", known.floor) + &lines.collect::<String>())
}

fn encode_signers(known: &ExecutedCommands) -> Vec<u8> {
    let lines = known.ran.iter().filter_map(|ran| Some(format!("{} {}\n", hex(ran.id), ran.by?)));
    summed(format!("{SIGNERS}\n") + &lines.collect::<String>())
}

fn hex(id: CommandId) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

fn id_of(hex: &str) -> Option<CommandId> {
    Some(u128::from_str_radix(hex, 16).ok()?.to_be_bytes())
}

/// `text` with its checksum.
fn summed(text: String) -> Vec<u8> {
    let crc = crc32fast::hash(text.as_bytes());
    (text + &format!("{crc:08x}\n")).into_bytes()
}

/// The lines of a text with a valid checksum.
fn lines(bytes: &[u8]) -> Option<impl Iterator<Item = &str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (body, crc) = text.split_at_checked(text.len().checked_sub(9)?)?;
    let is_whole = format!("{:08x}\n", crc32fast::hash(body.as_bytes())) == crc;
    is_whole.then_some(body.strip_suffix('\n')?.split('\n'))
}

fn parse(bytes: &[u8]) -> Option<ExecutedCommands> {
    let mut lines = lines(bytes)?;
    let floor = lines.next()?.strip_prefix(VERSION)?.strip_prefix(' ')?.parse().ok()?;
    let ran = lines.map(|line| {
        let (id, expires) = line.split_once(' ')?;
        Some(ExecutedCommand { id: id_of(id)?, expires: expires.parse().ok()?, by: None })
    });
    Some(ExecutedCommands { floor, ran: ran.collect::<Option<_>>()? })
}

fn parse_signers(bytes: &[u8]) -> Option<HashMap<CommandId, PublicKey>> {
    let mut lines = lines(bytes)?;
    (lines.next()? == SIGNERS).then_some(())?;
    let signers = lines.map(|line| {
        let (id, key) = line.split_once(' ')?;
        Some((id_of(id)?, key.parse().ok()?))
    });
    signers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::key::PrivateKey;
    use proptest::prelude::*;
    use tempfile::TempDir;

    const NOW: u64 = 1_800_000_000;

    fn id(number: u16) -> CommandId {
        u128::from(number).to_be_bytes()
    }

    fn owner(key: u8) -> CommandSigner {
        CommandSigner { own: true, ..other(key) }
    }

    fn other(key: u8) -> CommandSigner {
        CommandSigner { key: PrivateKey::from_seed([key; 32]).unwrap().public(), own: false }
    }

    fn run(ids: &mut Ids, number: u16, expires: u64, now: u64) -> Result<(), RefusedCommand> {
        ids.run(owner(1), id(number), expires, now, |_| Ok(()))
    }

    /// Adds commands of `by`, numbered from `from`, until one is refused. Returns their number, and
    /// the reason.
    fn fill(known: &mut ExecutedCommands, by: CommandSigner, from: u16) -> (usize, RefusedCommand) {
        for count in 0.. {
            match known.with(by, id(from + count), NOW + 60, NOW) {
                Ok(next) => *known = next,
                Err(why) => return (count.into(), why),
            }
        }
        unreachable!()
    }

    #[test]
    fn once_and_in_time() {
        let folder = TempDir::new().unwrap();
        let mut ids = Ids::open(Some(folder.path()));
        assert_eq!(run(&mut ids, 1, NOW + 60, NOW), Ok(()));
        for again in [&mut ids, &mut Ids::open(Some(folder.path()))] {
            assert_eq!(run(again, 1, NOW + 60, NOW), Err(RefusedCommand::Replayed));
            assert_eq!(run(again, 2, NOW, NOW), Err(RefusedCommand::Expired));
            assert_eq!(run(again, 2, NOW + AHEAD + 1, NOW), Err(RefusedCommand::TooFarAhead));
        }
        assert_eq!(run(&mut ids, 2, NOW + AHEAD, NOW), Ok(()));
        // The first command is forgotten but stays refused, even if the clock is set back.
        assert_eq!((run(&mut ids, 3, NOW + 100, NOW + 60), ids.count()), (Ok(()), 2));
        assert_eq!(run(&mut ids, 1, NOW + 60, NOW), Err(RefusedCommand::Expired));
        assert_eq!(Ids::open(Some(folder.path())).floor(), NOW + 60);
    }

    /// A key with many commands does not use up the room of others, also after a restart.
    #[test]
    fn nobody_uses_up_the_room_of_others() {
        let folder = TempDir::new().unwrap();
        let mut ids = Ids::open(Some(folder.path()));
        let known = ids.known.as_mut().unwrap();
        assert_eq!(fill(known, other(2), 0), (OF_ONE, RefusedCommand::TooMany(OF_ONE)));
        assert_eq!(fill(known, other(3), 1000).0, OF_ONE);
        // All other keys together leave room for those with `own`.
        let greedy = (4..40).map(|key| fill(known, other(key), u16::from(key) * 1000).0);
        assert_eq!(greedy.sum::<usize>(), MAX - FOR_OWN - 2 * OF_ONE);
        assert_eq!(known.with(other(40), id(60_000), NOW + 60, NOW), Err(RefusedCommand::Full));
        assert_eq!(run(&mut ids, 60_000, NOW + 60, NOW), Ok(()));
        let mut ids = Ids::open(Some(folder.path()));
        let again = ids.run(other(2), id(60_001), NOW + 60, NOW, |_| Ok(()));
        assert_eq!(again, Err(RefusedCommand::TooMany(OF_ONE)));
        assert_eq!(run(&mut ids, 60_001, NOW + 60, NOW), Ok(()));
        let known = ids.known.as_mut().unwrap();
        assert_eq!(fill(known, owner(1), 61_000).0, OF_ONE_OWN - 2);
        assert_eq!(fill(known, owner(40), 62_000).0, FOR_OWN - OF_ONE_OWN);
        // Expired commands make room.
        assert_eq!(run(&mut ids, 65_000, NOW + 100, NOW + 60), Ok(()));
    }

    #[test]
    fn full_refuses_and_forgets_nothing() {
        let folder = TempDir::new().unwrap();
        let mut ids = Ids::open(Some(folder.path()));
        let ran = |number| ExecutedCommand { id: id(number), expires: NOW + 60, by: None };
        ids.known = Ok(ExecutedCommands { floor: 0, ran: (0..MAX as u16).map(ran).collect() });
        assert_eq!(run(&mut ids, 5000, NOW + 60, NOW), Err(RefusedCommand::Full));
        assert_eq!(run(&mut ids, 0, NOW + 60, NOW), Err(RefusedCommand::Replayed));
        assert_eq!(run(&mut ids, 5000, NOW + 100, NOW + 60), Ok(()));
        let longest =
            ExecutedCommand { id: [0xff; 16], expires: u64::MAX, by: Some(owner(0xff).key) };
        let full = ExecutedCommands { floor: u64::MAX, ran: vec![longest; MAX] };
        assert!((encode(&full).len() as u64) < LONGEST);
        assert!((encode_signers(&full).len() as u64) < LONGEST_SIGNERS);
    }

    /// Without the file of signers (left by the previous release, or damaged) no command runs
    /// twice, and new commands count.
    #[test]
    fn without_signers() {
        for left in [None, Some(&b"damaged"[..])] {
            let folder = TempDir::new().unwrap();
            let mut ids = Ids::open(Some(folder.path()));
            for number in 0..OF_ONE as u16 {
                ids.run(other(2), id(number), NOW + 60, NOW, |_| Ok(())).unwrap();
            }
            let file = folder.path().join("signers");
            match left {
                None => std::fs::remove_file(&file).unwrap(),
                Some(bytes) => std::fs::write(&file, bytes).unwrap(),
            }
            let mut ids = Ids::open(Some(folder.path()));
            let again = ids.run(other(2), id(0), NOW + 60, NOW, |_| Ok(()));
            assert_eq!(again, Err(RefusedCommand::Replayed));
            ids.run(other(2), id(5000), NOW + 60, NOW, |_| Ok(())).unwrap();
            let ids = Ids::open(Some(folder.path()));
            let counted = ids.known.unwrap().ran.iter().filter(|ran| ran.by.is_some()).count();
            assert_eq!(counted, 1);
        }
    }

    /// If the power fails before any step, an accepted command is remembered, and a refused one can
    /// still run or is remembered.
    #[test]
    fn cut_at_every_step() {
        for cut in WriteStep::ALL {
            let folder = TempDir::new().unwrap();
            let mut ids = Ids::open(Some(folder.path()));
            assert_eq!(run(&mut ids, 1, NOW + 60, NOW), Ok(()));
            let outcome = ids.run(owner(1), id(2), NOW + 60, NOW, |step| {
                if step == cut { Err(io::Error::other("cut")) } else { Ok(()) }
            });
            assert!(matches!(outcome, Err(RefusedCommand::Store(_))), "{cut:?}");
            let mut ids = Ids::open(Some(folder.path()));
            assert_eq!(run(&mut ids, 1, NOW + 60, NOW), Err(RefusedCommand::Replayed), "{cut:?}");
            let second = run(&mut ids, 2, NOW + 60, NOW);
            let wanted =
                if cut == WriteStep::SyncFolder { Err(RefusedCommand::Replayed) } else { Ok(()) };
            assert_eq!(second, wanted, "{cut:?}");
        }
    }

    #[test]
    fn damage_lets_nothing_through() {
        let folder = TempDir::new().unwrap();
        let mut ids = Ids::open(Some(folder.path()));
        run(&mut ids, 1, NOW + 60, NOW).unwrap();
        let path = folder.path().join("ids");
        let whole = std::fs::read(&path).unwrap();
        assert!(parse(&whole).is_some());
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&changed), None, "bit {bit}");
        }
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let mut ids = Ids::open(Some(folder.path()));
            assert!(ids.trouble().is_some_and(|trouble| trouble.contains("damaged")));
            assert!(
                matches!(run(&mut ids, 2, NOW + 60, NOW), Err(RefusedCommand::Store(_))),
                "{length}"
            );
        }
        let mut none = Ids::open(None);
        assert!(matches!(run(&mut none, 1, NOW + 60, NOW), Err(RefusedCommand::Store(_))));
    }

    proptest! {
        /// For any sequence of commands and times, no command runs twice, even if the file is read
        /// anew each time.
        #[test]
        fn at_most_once(steps in prop::collection::vec((0u16..8, 0u64..200, 0u64..200), 1..40)) {
            let folder = TempDir::new().unwrap();
            let mut ran = std::collections::HashSet::new();
            for (number, expires, now) in steps {
                let mut ids = Ids::open(Some(folder.path()));
                if run(&mut ids, number, NOW + expires, NOW + now).is_ok() {
                    // The id and the expiry are signed together: an id has one expiry.
                    prop_assert!(ran.insert((number, expires)));
                }
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(parse(&bytes), None);
            prop_assert_eq!(parse_signers(&bytes), None);
        }
    }
}
