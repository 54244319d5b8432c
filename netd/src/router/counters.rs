//! What the tables have counted, by port and reason, and by line.

use std::collections::BTreeMap;

use serde_json::Value;

use super::firewall;
use super::guard;
use crate::nft::{self, NftError};

/// Frames, by port, then by the reason for which they were dropped.
pub type Drops = BTreeMap<String, BTreeMap<String, u64>>;

/// What was dropped at each port.
///
/// # Errors
/// nft refuses.
pub async fn drops() -> Result<Drops, NftError> {
    let mut drops = Drops::new();
    for (family, table) in [("netdev", guard::TABLE), ("inet", firewall::TABLE)] {
        read(&nft::json(&format!("list sets {family}")).await?, table, &mut drops);
    }
    Ok(drops)
}

/// How often each line has let a new flow, by the name of its chain.
///
/// # Errors
/// nft refuses.
pub async fn lines() -> Result<BTreeMap<String, u64>, NftError> {
    let listed = nft::json(&format!("list counters table inet {}", firewall::TABLE)).await?;
    let counter = |item: &Value| {
        let counter = item.get("counter")?;
        Some((counter["name"].as_str()?.to_owned(), counter["packets"].as_u64()?))
    };
    Ok(items(&listed).filter_map(counter).collect())
}

fn items(listed: &Value) -> impl Iterator<Item = &Value> {
    listed["nftables"].as_array().into_iter().flatten()
}

/// Adds what the sets of `table` count: those with a counter for each device.
fn read(listed: &Value, table: &str, drops: &mut Drops) {
    for set in items(listed).filter_map(|item| item.get("set")) {
        if set["table"] != table || set["type"] != "ifname" {
            continue;
        }
        let name = set["name"].as_str().unwrap_or_default();
        let reason = name.strip_prefix("of_").unwrap_or(name).replace('_', "-");
        for element in set["elem"].as_array().into_iter().flatten() {
            let element = &element["elem"];
            let counted = element["val"].as_str().zip(element["counter"]["packets"].as_u64());
            if let Some((device, packets @ 1..)) = counted {
                drops.entry(device.to_owned()).or_default().insert(reason.clone(), packets);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sets_with_counters_are_read() {
        let element = |device: &str, packets: u64| json!({ "elem": { "val": device, "counter": { "packets": packets, "bytes": 9 } } });
        let set = |table: &str, name: &str| {
            json!({ "set": {
                "family": "netdev", "name": name, "table": table, "type": "ifname", "handle": 1,
                "elem": [element("eth1", 3), element("eth2", 0)],
            }})
        };
        let listed = json!({ "nftables": [
            { "metainfo": {} }, set("octet_guard", "of_src_mac"), set("other", "of_arp"),
            { "set": { "table": "octet_guard", "type": ["ifname", "ether_addr"], "elem": [7] } },
        ]});
        let mut drops = Drops::new();
        read(&listed, guard::TABLE, &mut drops);
        let one = BTreeMap::from([("src-mac".to_owned(), 3)]);
        assert_eq!(drops, Drops::from([("eth1".to_owned(), one)]));
    }
}
