//! What a ledger's pool counts and pays.

use std::collections::BTreeMap;

use octet_coins::LedgerState;
use octet_node::control::{Failure, FailureCode, PublicKey};
use serde_json::{Map, Value, json};

/// The answer of `pool`.
pub fn pool(state: &LedgerState) -> Result<Value, Failure> {
    let parameters = state.parameters().pool.zip(state.period());
    let Some((pool, period)) = parameters else {
        let help = "only a ledger whose genesis file has a [pool] pays fees to those who carried";
        return Err(Failure::new(FailureCode::NotFound, "this ledger has no pool", help));
    };
    let mut nodes: BTreeMap<PublicKey, Vec<PublicKey>> = BTreeMap::new();
    for (owner, node) in state.members() {
        nodes.entry(owner).or_default().push(node);
    }
    let members: Vec<_> = nodes
        .into_iter()
        .map(|(owner, nodes)| {
            let earnings = state.earnings(&owner);
            json!({
                "owner": owner,
                "nodes": nodes,
                "work": earnings.work,
                "last_claims": earnings.last_claims,
                "last_pool": earnings.last_pool,
            })
        })
        .collect();
    Ok(json!({
        "height": state.height(),
        "per_period": pool.per_period,
        "halving_periods": pool.halving_periods,
        "fees_percent": pool.fees_percent,
        "owner_percent": pool.owner_percent,
        "levy_permille": pool.levy_permille,
        "period": period.number,
        "first_height": period.first_height,
        "last_height": period.last_height,
        "schedule": period.schedule,
        "fees": period.fees,
        "work": period.work,
        "payout": period.payout(&pool),
        "last_payout": state.last_payout(),
        "members": members,
    }))
}

/// What the last settlement period brought an owner, for the answer of `account`.
pub fn earned(state: &LedgerState, owner: &PublicKey) -> Map<String, Value> {
    let parameters = state.parameters();
    if parameters.pool.is_none() {
        return Map::new();
    }
    let it = state.earnings(owner);
    [
        ("last_claims", it.last_claims),
        ("last_pool", it.last_pool),
        ("settlement_heights", parameters.settlement_heights),
        ("spacing_seconds", parameters.spacing.as_secs()),
    ]
    .map(|(name, number)| (name.to_owned(), number.into()))
    .into_iter()
    .collect()
}
