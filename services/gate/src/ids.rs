//! Which signed commands have been run: each at most once, whatever happens to the box.
//!
//! The file is replaced whole, and has the new id before its command is run. A file that is damaged
//! lets no command through: it could be one that was run.

use std::io;
use std::path::{Path, PathBuf};

use octet_node::command::CommandId;
use octet_node::durable::{self, Existing, Step};

/// How many commands are remembered at once. When there is no room, none is run.
const MOST: usize = 1024;

/// The longest time ahead that a command may expire, in seconds: so long it must be remembered.
pub const AHEAD: u64 = 24 * 60 * 60;

/// What the file begins with: the version of the format.
const VERSION: &str = "octet-ids-1";

/// More than the file takes, in bytes: for each id 32 digits, a number and two separators.
const LONGEST: u64 = 64 << 10;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    /// Commands that expire no later than this are no longer remembered, and not run.
    floor: u64,
    /// Every other one that was run, and when it expires (seconds since 1970).
    ids: Vec<(CommandId, u64)>,
}

/// The file, or why there is none that can be used.
#[derive(Debug)]
pub struct Ids {
    path: Option<PathBuf>,
    known: Result<Known, String>,
}

/// Why a command is not run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It was.
    #[error("this command was run before")]
    Again,
    /// It is too late.
    #[error("the command has expired")]
    Expired,
    /// It is too early.
    #[error("the command expires more than 24 hours ahead")]
    TooFarAhead,
    /// There is no room to remember it.
    #[error("{MOST} commands of the last 24 hours are remembered, and none is forgotten")]
    Full,
    /// It could not be remembered.
    #[error("the gate cannot remember that it runs this command: {0}")]
    Store(String),
}

impl Ids {
    /// What is kept in `folder`; without one no command is ever run, because a box that was off would
    /// run it again.
    pub fn open(folder: Option<&Path>) -> Self {
        let Some(path) = folder.map(|folder| folder.join("ids")) else {
            return Self { path: None, known: Err("there is no data partition".into()) };
        };
        let known = match durable::read(&path, LONGEST) {
            Ok(None) => Ok(Known::default()),
            Ok(Some(bytes)) => {
                parse(&bytes).ok_or_else(|| format!("{} is damaged", path.display()))
            }
            Err(error) => Err(format!("{}: {error}", path.display())),
        };
        Self { path: Some(path), known }
    }

    /// Why no command can be run at all, if that is so.
    pub fn trouble(&self) -> Option<&str> {
        self.known.as_ref().err().map(String::as_str)
    }

    /// How many commands are remembered.
    pub fn count(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.ids.len())
    }

    /// The time up to which commands were forgotten: it is at least as late.
    pub fn floor(&self) -> u64 {
        self.known.as_ref().map_or(0, |known| known.floor)
    }

    /// Command `id`, which expires at `expires`, is to be run at `now` (seconds since 1970). When this
    /// returns without an error, that is on disk. `before` is called before each step of writing, and
    /// can forbid it.
    ///
    /// # Errors
    /// It is not to be run.
    pub fn run(
        &mut self,
        id: CommandId,
        expires: u64,
        now: u64,
        before: impl FnMut(Step) -> io::Result<()>,
    ) -> Result<(), Refused> {
        let known = self.known.as_mut().map_err(|problem| Refused::Store(problem.clone()))?;
        let path = self.path.as_ref().ok_or_else(|| Refused::Store("it has no place".into()))?;
        let next = known.with(id, expires, now)?;
        durable::write(path, &encode(&next), Existing::Replace, before)
            .map_err(|error| Refused::Store(error.to_string()))?;
        *known = next;
        Ok(())
    }
}

impl Known {
    fn with(&self, id: CommandId, expires: u64, now: u64) -> Result<Self, Refused> {
        if expires <= now || expires <= self.floor {
            return Err(Refused::Expired);
        }
        if expires > now.saturating_add(AHEAD) {
            return Err(Refused::TooFarAhead);
        }
        if self.ids.iter().any(|(known, _)| *known == id) {
            return Err(Refused::Again);
        }
        let (mut ids, gone): (Vec<_>, Vec<_>) =
            self.ids.iter().copied().partition(|(_, expires)| *expires > now);
        let floor = gone.iter().map(|(_, expires)| *expires).fold(self.floor, u64::max);
        if ids.len() >= MOST {
            return Err(Refused::Full);
        }
        ids.push((id, expires));
        Ok(Self { floor, ids })
    }
}

fn encode(known: &Known) -> Vec<u8> {
    let mut text = format!("{VERSION} {}\n", known.floor);
    for (id, expires) in &known.ids {
        text += &format!("{:032x} {expires}\n", u128::from_be_bytes(*id));
    }
    let crc = crc32fast::hash(text.as_bytes());
    (text + &format!("{crc:08x}\n")).into_bytes()
}

fn parse(bytes: &[u8]) -> Option<Known> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (body, crc) = text.split_at_checked(text.len().checked_sub(9)?)?;
    if format!("{:08x}\n", crc32fast::hash(body.as_bytes())) != crc {
        return None;
    }
    let mut lines = body.strip_suffix('\n')?.split('\n');
    let floor = lines.next()?.strip_prefix(VERSION)?.strip_prefix(' ')?.parse().ok()?;
    let ids = lines.map(|line| {
        let (id, expires) = line.split_once(' ')?;
        Some((u128::from_str_radix(id, 16).ok()?.to_be_bytes(), expires.parse().ok()?))
    });
    Some(Known { floor, ids: ids.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tempfile::TempDir;

    const NOW: u64 = 1_800_000_000;

    fn id(number: u16) -> CommandId {
        u128::from(number).to_be_bytes()
    }

    fn run(ids: &mut Ids, number: u16, expires: u64, now: u64) -> Result<(), Refused> {
        ids.run(id(number), expires, now, |_| Ok(()))
    }

    #[test]
    fn once_and_in_time() {
        let folder = TempDir::new().unwrap();
        let mut ids = Ids::open(Some(folder.path()));
        assert_eq!(run(&mut ids, 1, NOW + 60, NOW), Ok(()));
        for again in [&mut ids, &mut Ids::open(Some(folder.path()))] {
            assert_eq!(run(again, 1, NOW + 60, NOW), Err(Refused::Again));
            assert_eq!(run(again, 2, NOW, NOW), Err(Refused::Expired));
            assert_eq!(run(again, 2, NOW + AHEAD + 1, NOW), Err(Refused::TooFarAhead));
        }
        assert_eq!(run(&mut ids, 2, NOW + AHEAD, NOW), Ok(()));
        // The first is forgotten, and stays refused, even if the time is put back.
        assert_eq!((run(&mut ids, 3, NOW + 100, NOW + 60), ids.count()), (Ok(()), 2));
        assert_eq!(run(&mut ids, 1, NOW + 60, NOW), Err(Refused::Expired));
        assert_eq!(Ids::open(Some(folder.path())).floor(), NOW + 60);
    }

    #[test]
    fn full_refuses_and_forgets_nothing() {
        let folder = TempDir::new().unwrap();
        let mut ids = Ids::open(Some(folder.path()));
        let all = (0..MOST as u16).map(|number| (id(number), NOW + 60)).collect();
        ids.known = Ok(Known { floor: 0, ids: all });
        assert_eq!(run(&mut ids, 5000, NOW + 60, NOW), Err(Refused::Full));
        assert_eq!(run(&mut ids, 0, NOW + 60, NOW), Err(Refused::Again));
        assert_eq!(run(&mut ids, 5000, NOW + 100, NOW + 60), Ok(()));
        assert!(encode(ids.known.as_ref().unwrap()).len() as u64 <= LONGEST);
        let full = Known { floor: u64::MAX, ids: vec![(id(1), u64::MAX); MOST] };
        assert!((encode(&full).len() as u64) < LONGEST);
    }

    /// Cut before each step of writing: what was allowed is remembered, and what was not allowed can
    /// still be run, or is remembered.
    #[test]
    fn cut_at_every_step() {
        for cut in Step::ALL {
            let folder = TempDir::new().unwrap();
            let mut ids = Ids::open(Some(folder.path()));
            assert_eq!(run(&mut ids, 1, NOW + 60, NOW), Ok(()));
            let outcome = ids.run(id(2), NOW + 60, NOW, |step| {
                if step == cut { Err(io::Error::other("cut")) } else { Ok(()) }
            });
            assert!(matches!(outcome, Err(Refused::Store(_))), "{cut:?}");
            let mut ids = Ids::open(Some(folder.path()));
            assert_eq!(run(&mut ids, 1, NOW + 60, NOW), Err(Refused::Again), "{cut:?}");
            let second = run(&mut ids, 2, NOW + 60, NOW);
            let wanted = if cut == Step::SyncFolder { Err(Refused::Again) } else { Ok(()) };
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
            assert!(matches!(run(&mut ids, 2, NOW + 60, NOW), Err(Refused::Store(_))), "{length}");
        }
        let mut none = Ids::open(None);
        assert!(matches!(run(&mut none, 1, NOW + 60, NOW), Err(Refused::Store(_))));
    }

    proptest! {
        /// Whatever is asked, and however the time goes: nothing is run twice, also when the file is
        /// read anew each time.
        #[test]
        fn at_most_once(steps in prop::collection::vec((0u16..8, 0u64..200, 0u64..200), 1..40)) {
            let folder = TempDir::new().unwrap();
            let mut ran = std::collections::HashSet::new();
            for (number, expires, now) in steps {
                let mut ids = Ids::open(Some(folder.path()));
                if run(&mut ids, number, NOW + expires, NOW + now).is_ok() {
                    // The expiry is signed with the id: one id has one.
                    prop_assert!(ran.insert((number, expires)));
                }
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(parse(&bytes), None);
        }
    }
}
