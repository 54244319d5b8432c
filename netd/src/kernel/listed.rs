//! What nft lists of netd's tables (libnftables-json(5)).

use std::collections::BTreeMap;

use octet_appliance::{LinkName, Mac};
use serde_json::Value;

use crate::backend::Drops;
use crate::plugged::{Held, Plugged};
use crate::router::firewall::{TABLE, There};

/// How often each line has let a new flow, by the name of its chain.
pub fn lines(listed: &Value) -> BTreeMap<String, u64> {
    let counter = |item: &Value| {
        let counter = item.get("counter")?;
        Some((counter["name"].as_str()?.to_owned(), counter["packets"].as_u64()?))
    };
    items(listed).filter_map(counter).collect()
}

/// The chains of a router's table.
pub fn there(listed: &str) -> There {
    let (mut table, mut chains) = ("", std::collections::BTreeSet::new());
    for line in listed.lines() {
        let name = |kind| line.trim().strip_prefix(kind)?.split(' ').next();
        if let Some(name) = name("table inet ") {
            table = name;
        } else if let Some(name) = name("chain ")
            && table == TABLE
        {
            chains.insert(name.to_owned());
        }
    }
    There(chains)
}

/// Those whom the guard of a netd before this one knows: what is in its set of bound addresses. Those that the file
/// says have no count beside them.
pub fn plugged(listed: &Value) -> Plugged {
    let elements = items(listed).filter_map(|item| item["set"]["elem"].as_array()).flatten();
    let held = |element: &Value| {
        let element = &element["elem"];
        let [device, mac] = element["val"]["concat"].as_array()?.as_slice() else {
            return None;
        };
        let downs = element["comment"].as_str()?.parse().ok()?;
        let device = LinkName::try_from(device.as_str()?.to_owned()).ok()?;
        let mac = Mac::try_from(mac.as_str()?.to_owned()).ok()?;
        Some((device, Held { mac, downs }))
    };
    elements.filter_map(held).collect()
}

fn items(listed: &Value) -> impl Iterator<Item = &Value> {
    listed["nftables"].as_array().into_iter().flatten()
}

/// Adds what the sets of `table` count: those with a counter for each device.
pub fn drops(listed: &Value, table: &str, drops: &mut Drops) {
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
    use crate::router::guard;
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
        super::drops(&listed, guard::TABLE, &mut drops);
        let one = BTreeMap::from([("src-mac".to_owned(), 3)]);
        assert_eq!(drops, Drops::from([("eth1".to_owned(), one)]));
    }

    #[test]
    fn chains_of_other_tables_are_somebody_elses() {
        let listed = "table inet octet_forward {\n\tchain policy_00000001 {\n\t}\n}\n\
                      table inet octet_fw {\n\tchain policy_00000002 {\n\t}\n\
                      \tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n";
        let ours = ["input", "policy_00000002"].map(str::to_owned);
        assert_eq!(there(listed), There(ours.into()));
        assert_eq!(there(""), There::default());
    }

    #[test]
    fn who_is_bound_with_a_count_was_reported() {
        let element = |device: &str, mac: &str| json!({ "concat": [device, mac] });
        let listed = json!({ "nftables": [
            { "metainfo": {} },
            { "set": { "name": "mac", "elem": [
                element("eth4", "02:00:00:00:00:04"),
                { "elem": { "val": element("eth1", "02:00:00:00:00:01"), "comment": "7" } },
            ] } },
        ] });
        let device = LinkName::try_from("eth1".to_owned()).unwrap();
        let mac = Mac::try_from("02:00:00:00:00:01".to_owned()).unwrap();
        let held = [(device, Held { mac, downs: 7 })];
        assert_eq!(plugged(&listed), held.into_iter().collect());
        assert_eq!(plugged(&json!({ "nftables": 3 })), Plugged::default());
    }
}
