//! What an owner says about a board.

use octet_node::control::PublicKey;
use octet_node::map::{MAX_REVOKED, MapVersion};
use octet_node::record::SeatRecord;
use octet_node::statement::SignedAppointment;

use super::{Candidate, Entry, JoinDecision, JoinRefusal, NumberRegistry, Replace};
use crate::rules::EnrolmentRules;

/// An owner's hand: what it knows and may.
#[derive(Debug, Clone, Copy)]
pub struct Hand<'a> {
    /// The rules that are in force.
    pub rules: &'a EnrolmentRules,
    /// The keys of the box's owners.
    pub owners: &'a [PublicKey],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotBe {
    /// There is no such board.
    #[error("the box has no board {0}")]
    NoBoard(u8),
    /// It is the coordinator itself.
    #[error("board {0} holds the map itself, and nobody else says which node it is")]
    IsCoordinator(u8),
    #[error("no key waits at board {0}")]
    NobodyWaits(u8),
    #[error("board {0} has no key")]
    NotEnrolled(u8),
    /// It is refused all the same.
    #[error("it is refused: {0}")]
    Refused(#[from] JoinRefusal),
    #[error("{MAX_REVOKED} keys are revoked, and none is forgotten")]
    Full,
    /// The record is about something else.
    #[error("the record is about another board, another box or another key")]
    OtherRecord,
    /// Whoever signed it does not own the box.
    #[error("{0} does not own this box")]
    NoOwner(PublicKey),
    /// The statement is about another node.
    #[error("the statement is about {0}, and this is another node")]
    OtherCoordinator(PublicKey),
    /// The statement is not newer.
    #[error("the statement is of epoch {said}, and this box is at {now}")]
    OldEpoch { said: u64, now: u64 },
}

impl CannotBe {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NoBoard(_) => "see `boards` in [cluster]",
            Self::IsCoordinator(_) => {
                "another coordinator needs an owner's statement: `octetctl sign-coordinator`, `cluster adopt`"
            }
            Self::NobodyWaits(_) | Self::NotEnrolled(_) => "`cluster show` tells how each board is",
            Self::Refused(_) => "see what `cluster show` says about it",
            Self::Full => {
                "a coordinator with a new key and a new map forgets them: see docs/cluster.md"
            }
            Self::OtherRecord => "have an owner sign one with this board's number and key",
            Self::NoOwner(_) => "an owner is a key with `own` in `[operator] keys`",
            Self::OtherCoordinator(_) => {
                "take it to that node, or sign one for this: `octetctl sign-coordinator`"
            }
            Self::OldEpoch { .. } => "sign one with a higher `--epoch`",
        }
    }
}

impl NumberRegistry {
    /// `candidate`, who waits at `number`, is the board.
    ///
    /// # Errors
    /// It is not; the book is as before.
    pub fn approve(
        &mut self,
        number: u8,
        candidate: &Candidate,
        record: Option<SeatRecord>,
        hand: Hand<'_>,
        now: u64,
    ) -> Result<(), CannotBe> {
        self.check(number, record, Some(candidate.node), hand)?;
        match self.admit(number, candidate, hand.rules, now, Some(record))? {
            JoinDecision::Welcome => Ok(()),
            JoinDecision::Pending => Err(CannotBe::NobodyWaits(number)),
        }
    }

    /// An owner says by `record` which node board `number` is: the one that is there already. Returns it.
    ///
    /// # Errors
    /// It is another, or no owner has said it; the book is as before.
    pub fn record(
        &mut self,
        number: u8,
        record: SeatRecord,
        hand: Hand<'_>,
    ) -> Result<PublicKey, CannotBe> {
        let node = self.enrolled(number).map(|member| member.node);
        self.check(number, Some(record), node, hand)?;
        let node = node.ok_or(CannotBe::NotEnrolled(number))?;
        self.change(number, |entry| {
            entry.member.iter_mut().for_each(|member| member.record = Some(record));
        });
        Ok(node)
    }

    /// Nothing is to be placed on board `number` from now on, or again what the settings say.
    ///
    /// # Errors
    /// There is no such board, or it has no key; the book is as before.
    pub fn drain(
        &mut self,
        number: u8,
        drained: bool,
        hand: Hand<'_>,
    ) -> Result<PublicKey, CannotBe> {
        if !hand.rules.numbers().contains(&number) {
            return Err(CannotBe::NoBoard(number));
        }
        let node = match number == self.number {
            true => self.coordinator,
            false => self.enrolled(number).ok_or(CannotBe::NotEnrolled(number))?.node,
        };
        self.entries.entry(number).or_default().drained = drained;
        Ok(node)
    }

    /// One other key, the next that comes, is board `number`; the one of `record`, if there is one.
    ///
    /// # Errors
    /// It cannot be; the book is as before.
    pub fn replace(
        &mut self,
        number: u8,
        record: Option<SeatRecord>,
        hand: Hand<'_>,
    ) -> Result<(), CannotBe> {
        self.check(number, record, None, hand)?;
        self.entries.entry(number).or_default().replace = Some(Replace { record });
        Ok(())
    }

    /// The key of board `number` never comes back, and no other is taken there until an owner says so.
    /// Returns it.
    ///
    /// # Errors
    /// It has none, or there is no room; the book is as before.
    pub fn revoke(&mut self, number: u8) -> Result<PublicKey, CannotBe> {
        if number == self.number && number > 0 {
            return Err(CannotBe::IsCoordinator(number));
        }
        let member = self.enrolled(number).ok_or(CannotBe::NotEnrolled(number))?;
        let node = member.node;
        if self.revoked.len() >= MAX_REVOKED {
            return Err(CannotBe::Full);
        }
        self.revoked.push(node);
        let drained = self.is_drained(number);
        self.entries.insert(number, Entry { closed: true, drained, ..Entry::default() });
        Ok(node)
    }

    /// An owner states that this node holds the map.
    ///
    /// # Errors
    /// No owner has, or it is about something else, or old; the book is as before.
    pub fn adopt(&mut self, statement: SignedAppointment, hand: Hand<'_>) -> Result<(), CannotBe> {
        let said = statement.appointment();
        if said.coordinator != self.coordinator {
            return Err(CannotBe::OtherCoordinator(said.coordinator));
        }
        if !hand.owners.contains(&said.owner) {
            return Err(CannotBe::NoOwner(said.owner));
        }
        if said.epoch <= self.version.epoch {
            return Err(CannotBe::OldEpoch { said: said.epoch, now: self.version.epoch });
        }
        let replaces = self.replaces();
        // The epoch ranks above it.
        self.version = MapVersion { epoch: said.epoch, sequence: 0 };
        self.statement = Some(statement);
        if self.replaces() != replaces {
            self.learned = None;
        }
        Ok(())
    }

    /// The coordinator whose numbers it takes over.
    pub fn replaces(&self) -> Option<PublicKey> {
        self.statement.as_ref().and_then(|statement| statement.appointment().replaces)
    }

    fn check(
        &self,
        number: u8,
        record: Option<SeatRecord>,
        node: Option<PublicKey>,
        hand: Hand<'_>,
    ) -> Result<(), CannotBe> {
        if !hand.rules.numbers().contains(&number) {
            return Err(CannotBe::NoBoard(number));
        }
        if number == self.number {
            return Err(CannotBe::IsCoordinator(number));
        }
        let Some(record) = record else { return Ok(()) };
        let seat = record.seat();
        if !hand.owners.contains(&seat.owner) {
            return Err(CannotBe::NoOwner(seat.owner));
        }
        let fits = (seat.number, seat.coordinator) == (number, self.coordinator)
            && node.is_none_or(|node| node == seat.node);
        if fits { Ok(()) } else { Err(CannotBe::OtherRecord) }
    }
}
