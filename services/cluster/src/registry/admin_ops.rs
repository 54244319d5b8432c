//! Operations by an owner.

use octet_node::control::PublicKey;
use octet_node::map::{MAX_REVOKED, MapVersion};
use octet_node::record::SeatRecord;
use octet_node::statement::SignedAppointment;

use super::{Candidate, Entry, JoinDecision, JoinRefusal, NumberRegistry, ReplacePermission};
use crate::rules::EnrolmentRules;

/// The context of an owner's operation.
#[derive(Debug, Clone, Copy)]
pub struct AdminContext<'a> {
    /// The active rules.
    pub rules: &'a EnrolmentRules,
    /// The keys of the box's owners.
    pub owners: &'a [PublicKey],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    #[error("the box has no board {0}")]
    NoBoard(u8),
    /// The board is the coordinator.
    #[error("board {0} is the coordinator itself, which no other node can approve")]
    IsCoordinator(u8),
    #[error("no key waits at board {0}")]
    NonePending(u8),
    #[error("board {0} has no key")]
    NotEnrolled(u8),
    /// The node is refused nevertheless.
    #[error("it is refused: {0}")]
    Refused(#[from] JoinRefusal),
    #[error("{MAX_REVOKED} keys are revoked, and none is forgotten")]
    Full,
    /// The record is for another board or coordinator.
    #[error("the record is about another board, another box or another key")]
    OtherRecord,
    /// The signer is not an owner.
    #[error("{0} does not own this box")]
    NotAnOwner(PublicKey),
    /// The appointment is for another node.
    #[error("the statement is about {0}, and this is another node")]
    OtherCoordinator(PublicKey),
    /// The appointment is not newer.
    #[error("the statement is of epoch {said}, and this box is at {now}")]
    OldEpoch { said: u64, now: u64 },
}

impl AdminError {
    /// What the user can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NoBoard(_) => "see `boards` in [cluster]",
            Self::IsCoordinator(_) => {
                "another coordinator needs an owner's statement: `octetctl sign-coordinator`, `cluster adopt`"
            }
            Self::NonePending(_) | Self::NotEnrolled(_) => "`cluster show` tells how each board is",
            Self::Refused(_) => "see what `cluster show` says about it",
            Self::Full => {
                "a coordinator with a new key and a new map forgets them: see docs/cluster.md"
            }
            Self::OtherRecord => "have an owner sign one with this board's number and key",
            Self::NotAnOwner(_) => "an owner is a key with `own` in `[operator] keys`",
            Self::OtherCoordinator(_) => {
                "take it to that node, or sign one for this: `octetctl sign-coordinator`"
            }
            Self::OldEpoch { .. } => "sign one with a higher `--epoch`",
        }
    }
}

impl NumberRegistry {
    /// Enrols `candidate`, which waits at `number`.
    ///
    /// # Errors
    /// The candidate is refused; the registry is unchanged.
    pub fn approve(
        &mut self,
        number: u8,
        candidate: &Candidate,
        record: Option<SeatRecord>,
        hand: AdminContext<'_>,
        now: u64,
    ) -> Result<(), AdminError> {
        self.check(number, record, Some(candidate.node), hand)?;
        match self.admit(number, candidate, hand.rules, now, Some(record))? {
            JoinDecision::Welcome => Ok(()),
            JoinDecision::Pending => Err(AdminError::NonePending(number)),
        }
    }

    /// Stores an owner's `record` of the node that is enrolled as board `number`. Returns the node.
    ///
    /// # Errors
    /// It is for another node, or not signed by an owner; the registry is unchanged.
    pub fn record(
        &mut self,
        number: u8,
        record: SeatRecord,
        hand: AdminContext<'_>,
    ) -> Result<PublicKey, AdminError> {
        let node = self.enrolled(number).map(|member| member.node);
        self.check(number, Some(record), node, hand)?;
        let node = node.ok_or(AdminError::NotEnrolled(number))?;
        self.change(number, |entry| {
            entry.member.iter_mut().for_each(|member| member.record = Some(record));
        });
        Ok(node)
    }

    /// Drains board `number`, or ends that.
    ///
    /// # Errors
    /// There is no such board, or it has no key; the registry is unchanged.
    pub fn drain(
        &mut self,
        number: u8,
        drained: bool,
        hand: AdminContext<'_>,
    ) -> Result<PublicKey, AdminError> {
        if !hand.rules.numbers().contains(&number) {
            return Err(AdminError::NoBoard(number));
        }
        let node = match number == self.number {
            true => self.coordinator,
            false => self.enrolled(number).ok_or(AdminError::NotEnrolled(number))?.node,
        };
        self.entries.entry(number).or_default().drained = drained;
        Ok(node)
    }

    /// Permits one other key as board `number`: the next that connects, or the one in `record`.
    ///
    /// # Errors
    /// It is not possible; the registry is unchanged.
    pub fn replace(
        &mut self,
        number: u8,
        record: Option<SeatRecord>,
        hand: AdminContext<'_>,
    ) -> Result<(), AdminError> {
        self.check(number, record, None, hand)?;
        self.entries.entry(number).or_default().replace = Some(ReplacePermission { record });
        Ok(())
    }

    /// Revokes the key of board `number` permanently, and accepts no other until an owner permits
    /// it. Returns the key.
    ///
    /// # Errors
    /// The board has no key, or the list is full; the registry is unchanged.
    pub fn revoke(&mut self, number: u8) -> Result<PublicKey, AdminError> {
        if number == self.number && number > 0 {
            return Err(AdminError::IsCoordinator(number));
        }
        let member = self.enrolled(number).ok_or(AdminError::NotEnrolled(number))?;
        let node = member.node;
        if self.revoked.len() >= MAX_REVOKED {
            return Err(AdminError::Full);
        }
        self.revoked.push(node);
        let drained = self.is_drained(number);
        self.entries.insert(number, Entry { closed: true, drained, ..Entry::default() });
        Ok(node)
    }

    /// Adopts an owner's appointment of this node as the coordinator.
    ///
    /// # Errors
    /// The appointment is not by an owner, for another node, or old; the registry is unchanged.
    pub fn adopt(
        &mut self,
        statement: SignedAppointment,
        hand: AdminContext<'_>,
    ) -> Result<(), AdminError> {
        let said = statement.body();
        if said.coordinator != self.coordinator {
            return Err(AdminError::OtherCoordinator(said.coordinator));
        }
        if !hand.owners.contains(&said.owner) {
            return Err(AdminError::NotAnOwner(said.owner));
        }
        if said.epoch <= self.version.epoch {
            return Err(AdminError::OldEpoch { said: said.epoch, now: self.version.epoch });
        }
        let replaces = self.replaces();
        // The epoch takes precedence over the sequence.
        self.version = MapVersion { epoch: said.epoch, sequence: 0 };
        self.statement = Some(statement);
        if self.replaces() != replaces {
            self.learned = None;
        }
        Ok(())
    }

    /// The previous coordinator, whose map is continued.
    pub fn replaces(&self) -> Option<PublicKey> {
        self.statement.as_ref().and_then(|statement| statement.body().replaces)
    }

    fn check(
        &self,
        number: u8,
        record: Option<SeatRecord>,
        node: Option<PublicKey>,
        hand: AdminContext<'_>,
    ) -> Result<(), AdminError> {
        if !hand.rules.numbers().contains(&number) {
            return Err(AdminError::NoBoard(number));
        }
        if number == self.number {
            return Err(AdminError::IsCoordinator(number));
        }
        let Some(record) = record else { return Ok(()) };
        let seat = record.body();
        if !hand.owners.contains(&seat.owner) {
            return Err(AdminError::NotAnOwner(seat.owner));
        }
        let fits = (seat.number, seat.coordinator) == (number, self.coordinator)
            && node.is_none_or(|node| node == seat.node);
        if fits { Ok(()) } else { Err(AdminError::OtherRecord) }
    }
}
