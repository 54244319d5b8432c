//! What `ledger` is asked for: what is locked, and to hand over claims.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};
use octet_coins::{Action, Genesis, SignedTransaction, Transaction};
use octet_node::KeptClient;
use octet_node::control::CallError;
use octet_node::key::PrivateKey;
use octet_receipts::{ClaimRules, KeyPair, LockQueries, LockState, PaidClaim, SignedReceipt};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The timeout of `ledger`, which answers from memory.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A ledger, as its genesis has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerOfReceipts {
    pub genesis: Genesis,
    /// The hash of the genesis.
    pub hash: [u8; 32],
}

impl LedgerOfReceipts {
    pub fn new(genesis: Genesis) -> Self {
        let hash = genesis.hash().0;
        Self { genesis, hash }
    }

    pub fn rules(&self) -> ClaimRules {
        let parameters = self.genesis.parameters();
        let heights = u32::try_from(parameters.settlement_heights).unwrap_or(u32::MAX);
        let interval = parameters.spacing.saturating_mul(heights);
        ClaimRules { genesis: self.hash, fee: parameters.fee, interval }
    }
}

/// What `ledger lock` answers.
#[derive(Debug, Deserialize)]
struct LockAnswer {
    genesis: String,
    amount: u64,
    returns_at: Option<u64>,
    max_per_day: u64,
    day_left: u64,
    is_open: bool,
    claims: Vec<ClaimAnswer>,
}

#[derive(Debug, Deserialize)]
struct ClaimAnswer {
    scope: String,
    epoch: u64,
    paid: u64,
}

/// Why nothing is known of the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerCallError {
    #[error("`ledger` does not answer: {0}")]
    Call(#[from] CallError),
    #[error("`ledger` has not begun the ledger of [ledger] yet")]
    OtherLedger,
}

/// The unit `ledger` of this node.
#[derive(Debug)]
pub struct LedgerUnit(KeptClient);

impl LedgerUnit {
    /// Nothing is connected yet; the socket is in the folder `sockets`.
    pub fn new(sockets: &Path) -> Self {
        Self(KeptClient::new(sockets.join("ledger.sock"), TIMEOUT))
    }

    /// What is locked and claimed between these keys.
    ///
    /// # Errors
    /// `ledger` does not answer as expected, or has another ledger.
    pub fn locks(
        &mut self,
        ledger: &LedgerOfReceipts,
        queries: LockQueries,
    ) -> Result<BTreeMap<KeyPair, LockState>, LedgerCallError> {
        let own = ledger.genesis.hash().to_string();
        let mut locks = BTreeMap::new();
        for (pair, scopes) in queries {
            let answer = self.0.call_with("lock", lock_args(&pair, &scopes))?;
            let answer: LockAnswer = serde_json::from_value(answer).map_err(CallError::from)?;
            if answer.genesis != own {
                return Err(LedgerCallError::OtherLedger);
            }
            locks.insert(pair, state(answer));
        }
        Ok(locks)
    }

    /// Hands over the claim of a receipt. `key` is that of its payee.
    ///
    /// # Errors
    /// `ledger` does not answer, or refuses it.
    pub fn claim(
        &mut self,
        ledger: &LedgerOfReceipts,
        receipt: SignedReceipt,
        key: &PrivateKey,
    ) -> Result<(), CallError> {
        let transaction =
            Transaction { signer: key.public(), nonce: 0, action: Action::Claim { receipt } };
        let signed = SignedTransaction::sign(transaction, &ledger.genesis.hash(), key);
        let text = BASE64.encode(&signed.to_bytes());
        let args = Map::from_iter([("transaction".to_owned(), Value::from(text))]);
        self.0.call_with("submit", args).map(drop)
    }
}

fn lock_args(pair: &KeyPair, scopes: &BTreeSet<[u8; 32]>) -> Map<String, Value> {
    let scopes: Vec<_> = scopes.iter().map(|scope| HEXLOWER.encode(scope)).collect();
    Map::from_iter([
        ("payer".to_owned(), json!(pair.payer)),
        ("payee".to_owned(), json!(pair.payee)),
        ("scopes".to_owned(), json!(scopes.join(","))),
    ])
}

fn state(answer: LockAnswer) -> LockState {
    let claim = |claim: ClaimAnswer| {
        let scope = HEXLOWER.decode(claim.scope.as_bytes()).ok()?.try_into().ok()?;
        Some((scope, PaidClaim { epoch: claim.epoch, paid: claim.paid }))
    };
    LockState {
        locked: answer.amount,
        max_per_day: answer.max_per_day,
        day_left: answer.day_left,
        is_open: answer.is_open && answer.returns_at.is_none(),
        claims: answer.claims.into_iter().filter_map(claim).collect(),
    }
}
