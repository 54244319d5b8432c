//! A copy of the state after a block, for a node that cannot get the blocks before it.
//!
//! As text it is a sequence of JSON objects: the first one has `genesis`, `height`, `block` and `votes` (base64), and
//! `state`; each other one has `rows` (base64): of each row the lengths of key and value (2 bytes each, big-endian), the
//! key and the value.

use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use octet_coins::{Block, Genesis, LedgerState};
use octet_node::bytes::Fields;
use serde_json::{Value, json};

use crate::consensus::{BlockCertificate, Voters};
use crate::store::StoredBlock;

/// The maximum size of the text, in bytes. It is in memory beside the state.
pub const MAX_SNAPSHOT: u64 = 16 << 20;

/// The most bytes of rows in one object, before base64.
const MAX_ROWS: usize = 32 << 10;

/// A checked copy.
#[derive(Debug)]
pub struct LedgerSnapshot {
    pub state: LedgerState,
    pub block: Vec<u8>,
    pub certificate: BlockCertificate,
}

/// Why a text is no copy that can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSnapshot {
    #[error("this is no snapshot of a ledger, or not all of it")]
    Malformed,
    #[error("the snapshot is of another ledger")]
    OtherLedger,
    #[error("the rows do not have the hash that was named")]
    OtherState,
    #[error("its block is not signed by more than two thirds of the validators")]
    Unsigned,
}

impl InvalidSnapshot {
    pub fn help(self) -> &'static str {
        match self {
            Self::Malformed => "save all that `ledger snapshot --json` prints",
            Self::OtherLedger => "take one of a node with the genesis of [ledger]",
            Self::OtherState => {
                "name `state` of `ledger show` of a node that you trust, at the height of the snapshot"
            }
            Self::Unsigned => "take a snapshot at a later block",
        }
    }
}

/// The objects of the copy of `state`, whose newest block is `stored`.
pub fn to_items(state: &LedgerState, stored: &StoredBlock) -> Vec<Value> {
    let [block, votes] = [&stored.0, &stored.1].map(|bytes| BASE64.encode(bytes));
    let mut items = vec![json!({
        "genesis": state.genesis_hash().to_string(),
        "height": state.height(),
        "block": block,
        "votes": votes,
        "state": HEXLOWER.encode(&state.hash()),
    })];
    let mut rows = vec![];
    for (key, value) in state.rows() {
        if rows.len() + key.len() + value.len() > MAX_ROWS {
            items.push(json!({ "rows": BASE64.encode(&std::mem::take(&mut rows)) }));
        }
        // Keys and values have less than 256 bytes.
        rows.extend_from_slice(&(key.len() as u16).to_be_bytes());
        rows.extend_from_slice(&(value.len() as u16).to_be_bytes());
        rows.extend_from_slice(&key);
        rows.extend_from_slice(&value);
    }
    items.push(json!({ "rows": BASE64.encode(&rows) }));
    items
}

impl LedgerSnapshot {
    /// Takes a copy whose rows have the hash `state`.
    ///
    /// # Errors
    /// It is none, or not that one.
    pub fn parse(text: &[u8], genesis: &Genesis, state: [u8; 32]) -> Result<Self, InvalidSnapshot> {
        let mut items = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
        let head = items.next().and_then(Result::ok).ok_or(InvalidSnapshot::Malformed)?;
        if head["genesis"].as_str() != Some(&genesis.hash().to_string()) {
            return Err(InvalidSnapshot::OtherLedger);
        }
        let bytes = |value: &Value| BASE64.decode(value.as_str()?.as_bytes()).ok();
        let block = bytes(&head["block"]).ok_or(InvalidSnapshot::Malformed)?;
        let votes = bytes(&head["votes"]).ok_or(InvalidSnapshot::Malformed)?;
        let mut rows = vec![];
        for item in items {
            let item = item.map_err(|_| InvalidSnapshot::Malformed)?;
            let some = bytes(&item["rows"]).and_then(|bytes| take_rows(&bytes));
            rows.extend(some.ok_or(InvalidSnapshot::Malformed)?);
        }
        let decided = Block::from_bytes(&block).ok_or(InvalidSnapshot::Malformed)?;
        let (height, tip) = (decided.height, decided.hash());
        let found = LedgerState::from_rows(genesis, height, tip, rows);
        let found = found.ok_or(InvalidSnapshot::Malformed)?;
        if found.hash() != state {
            return Err(InvalidSnapshot::OtherState);
        }
        let certificate = BlockCertificate::from_bytes(&votes).ok_or(InvalidSnapshot::Malformed)?;
        let is_of_block = (certificate.height, certificate.block) == (height, tip);
        let voters = Voters::new(Arc::new(found.clone()));
        if !is_of_block || !certificate.is_valid(&genesis.hash(), &voters) {
            return Err(InvalidSnapshot::Unsigned);
        }
        Ok(Self { state: found, block, certificate })
    }
}

fn take_rows(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let (mut fields, mut rows) = (Fields(bytes), vec![]);
    while !fields.0.is_empty() {
        let (key, value) = (fields.u16()?, fields.u16()?);
        rows.push((fields.take(key.into())?.to_vec(), fields.take(value.into())?.to_vec()));
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use octet_coins::{LedgerParameters, PendingTransactions, Validator};
    use octet_node::key::PrivateKey;
    use proptest::prelude::*;

    use super::*;

    fn genesis() -> Genesis {
        let key = |of: u8| PrivateKey::from_seed([of; 32]).unwrap().public();
        let validator = |at: u8| Validator { owner: key(100 + at), key: key(at) };
        let balances = (0..200).map(|owner| (key(owner), 7)).collect();
        let parameters = LedgerParameters::with_spacing(Duration::from_secs(1));
        Genesis::new("test", (0..4).map(validator).collect(), balances, parameters).unwrap()
    }

    /// A snapshot that nobody has signed, and its hash.
    fn text() -> (String, [u8; 32]) {
        let before = LedgerState::new(&genesis());
        let block = PendingTransactions::default().block(&before, 0);
        let state = before.check(&block).unwrap();
        let hash = block.hash();
        let votes = BlockCertificate { height: 1, round: 0, block: hash, signatures: vec![] };
        let items = to_items(&state, &(block.to_bytes(), votes.to_bytes()));
        (items.iter().map(|item| format!("{item}\n")).collect(), state.hash())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Nothing is taken without signatures, and nothing panics.
        #[test]
        fn any_text_is_refused(
            at in any::<prop::sample::Index>(),
            byte: u8,
            cut in any::<prop::sample::Index>(),
            junk in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let ((text, state), genesis) = (text(), genesis());
            let parse = |text: &[u8]| LedgerSnapshot::parse(text, &genesis, state).unwrap_err();
            prop_assert_eq!(parse(text.as_bytes()), InvalidSnapshot::Unsigned);
            let mut changed = text.clone().into_bytes();
            let at = at.index(changed.len());
            changed[at] = byte;
            let _ = parse(&changed);
            let _ = parse(&changed[..cut.index(changed.len())]);
            let _ = parse(&junk);
        }
    }
}
