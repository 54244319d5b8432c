//! `wallet vote-member-add` and `vote-member-remove`: votes about the members of a ledger's pool.

use std::io::{Read, Write};

use clap::Subcommand;
use octet_coins::{Action, Genesis, VotedChange};
use octet_control::{Client, PublicKey};
use octet_node::key::PrivateKey;

use super::{WalletError, order};

#[derive(Debug, Subcommand)]
pub enum MemberVerb {
    /// Votes that an owner's node becomes a member of the pool, and waits for the block
    VoteMemberAdd {
        /// The owner of the node (a did:key)
        owner: PublicKey,
        /// The node's key (a did:key), as `ledger key` shows it of a key that is bound for it
        node: PublicKey,
    },
    /// Votes that an owner's node is no longer a member of the pool, and waits for the block
    VoteMemberRemove {
        /// The owner of the node (a did:key)
        owner: PublicKey,
        /// The node's key (a did:key)
        node: PublicKey,
    },
}

impl MemberVerb {
    fn change(&self) -> VotedChange {
        match *self {
            Self::VoteMemberAdd { owner, node } => VotedChange::AddMember { owner, node },
            Self::VoteMemberRemove { owner, node } => VotedChange::RemoveMember { owner, node },
        }
    }
}

pub(super) fn run<S: Read + Write>(
    verb: &MemberVerb,
    client: &mut Client<S>,
    genesis: &Genesis,
    key: &PrivateKey,
) -> Result<String, WalletError> {
    let action = Action::Vote { change: verb.change(), consent: None };
    let height = order(client, genesis, key, action)?;
    Ok(format!("your vote counts since height {height}; `ledger pool` shows whether it passed\n"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{genesis, key, wallet};
    use super::*;

    #[test]
    fn a_vote_names_the_owner_and_the_node() {
        let text = genesis();
        let own = Genesis::from_toml(&text).unwrap();
        let (owner, node) = (key(8).public(), key(28).public());
        for (verb, change) in [
            ("vote-member-add", VotedChange::AddMember { owner, node }),
            ("vote-member-remove", VotedChange::RemoveMember { owner, node }),
        ] {
            let (printed, came) = wallet(&format!("{verb} {owner} {node}"), &own, true);
            assert!(printed.unwrap().contains("`ledger pool`"));
            assert_eq!(came[0].transaction().action, Action::Vote { change, consent: None });
            came[0].verify(&own.hash()).unwrap();
        }
    }
}
