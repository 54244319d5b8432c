//! Detects which paths programs use. The kernel keeps track: messages of `forward` on a path use the path's
//! inner addresses (`fe80::1` and `fe80::2`), programs use node addresses.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::{KernelError, meter};

/// How long the kernel remembers that a path was used.
pub const USE_TIMEOUT: Duration = Duration::from_secs(60);

/// The table; it only records.
const TABLE: &str = "inet octet_forward";

/// The rules. Each packet of a program restarts its device's timeout. There are at most 512 path ends.
const FRAME: &str = "table inet octet_forward {
  set used { typeof meta oif; size 1024; flags dynamic,timeout; timeout $kept; }
  chain sent { type filter hook output priority filter; policy accept; }
  chain came { type filter hook input priority filter; policy accept; }
}
flush chain inet octet_forward sent
flush chain inet octet_forward came
table inet octet_forward {
  chain sent {
    oifname \"fp*\" ip6 daddr fc00::/8 update @used { meta oif }
  }
  chain came {
    iifname \"fp*\" ip6 saddr fc00::/8 update @used { meta iif }
  }
}
";

/// Creates or updates the table. Recorded uses are kept.
///
/// # Errors
/// nft cannot be run, or the kernel refuses.
pub async fn prepare() -> Result<(), KernelError> {
    let saved = format!("{}s", USE_TIMEOUT.as_secs());
    meter::run(&[&FRAME.replace("$kept", &saved)]).await.map(drop)
}

/// The devices of paths that programs used within [`USE_TIMEOUT`].
///
/// # Errors
/// nft cannot be run, or its output is not as expected.
pub async fn devices() -> Result<BTreeSet<String>, KernelError> {
    read(&meter::run(&["-j", &format!("list set {TABLE} used")]).await?)
}

/// Parses the set's elements from nft's listing (libnftables-json(5)).
fn read(text: &str) -> Result<BTreeSet<String>, KernelError> {
    let listed: Value =
        serde_json::from_str(text).map_err(KernelError::to("read what nft lists"))?;
    let sets = listed["nftables"].as_array().into_iter().flatten().map(|it| &it["set"]);
    let elements = sets.filter_map(|set| set["elem"].as_array()).flatten();
    // A removed device is listed as a number.
    let name = |it: &Value| it["elem"]["val"].as_str().map(str::to_owned);
    Ok(elements.filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn devices_are_found() {
        let elements = json!([
            {"elem": {"val": "fp3", "expires": 59}},
            {"elem": {"val": 17, "expires": 3}},
            {"elem": {"val": "fp12", "expires": 1}},
        ]);
        let listed = |set: Value| json!({"nftables": [{"metainfo": {}}, {"set": set}]}).to_string();
        let found = read(&listed(json!({"name": "used", "elem": elements}))).unwrap();
        assert_eq!(found, ["fp12", "fp3"].map(str::to_owned).into());
        assert_eq!(read(&listed(json!({"name": "used"}))).unwrap(), BTreeSet::new());
        assert!(read("").is_err());
    }
}
