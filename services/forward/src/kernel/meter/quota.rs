//! The quotas of devices: named objects of nftables, whose limit can be changed while they go on counting.

use std::collections::BTreeMap;

use super::{KernelError, TABLE, listing, run};

/// The quota of a device, as the kernel has it (`net/netfilter/nft_quota.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// From so many bytes on, packets are dropped.
    pub bytes: u64,
    /// What was counted: dropped packets as well, but the kernel never reports more than `bytes`.
    pub used: u64,
}

/// The quotas, by device.
pub type Quotas = BTreeMap<String, Quota>;

/// The quota of a device that has no limit yet: the kernel's maximum.
pub(super) const UNLIMITED: u64 = i64::MAX as u64;

pub(super) fn quota_rule(device: &str) -> String {
    format!("add rule {TABLE} quota_{device} quota name \"quota_{device}\" drop\n")
}

pub(super) fn new_quota(device: &str, bytes: u64) -> String {
    let rule = quota_rule(device);
    format!("add quota {TABLE} quota_{device} {{ over {bytes} bytes; }}\n{rule}")
}

/// Lets so many more bytes pass at each of these devices, beyond what its quota of `quotas` has counted.
///
/// What remains must be computed from counters that are read after `quotas`: what passes between the two
/// readings then counts twice, and not never.
///
/// # Errors
/// nft cannot be run, or the kernel refuses.
pub async fn set_quotas(remaining: &[(String, u64)], quotas: &Quotas) -> Result<(), KernelError> {
    let rules = |(device, remaining): &(String, u64)| {
        Some(quota_change(device, *remaining, *quotas.get(device)?))
    };
    let text: String = remaining.iter().filter_map(rules).collect();
    if text.is_empty() { Ok(()) } else { run(&[&text]).await.map(drop) }
}

fn quota_change(device: &str, remaining: u64, Quota { bytes, used }: Quota) -> String {
    let name = format!("{TABLE} quota_{device}");
    if used >= bytes {
        // The kernel does not say how much it has dropped. Nothing passes, so another quota misses nothing.
        let new = new_quota(device, remaining.min(UNLIMITED));
        return format!("flush chain {name}\ndelete quota {name}\n{new}");
    }
    // The kernel changes the limit only, and goes on counting.
    let limit = used.saturating_add(remaining).min(UNLIMITED);
    format!("add quota {name} {{ over {limit} bytes; }}\n")
}

/// Reads all quotas.
///
/// # Errors
/// The table does not exist, or the kernel's answer is not as expected.
pub fn quotas() -> Result<Quotas, KernelError> {
    let all = listing::quotas().map_err(KernelError::to("read quotas"))?;
    let of_device =
        |(name, quota): (String, Quota)| Some((name.strip_prefix("quota_")?.to_owned(), quota));
    Ok(all.into_iter().filter_map(of_device).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_quota_has_counted_counts() {
        let over = |bytes: u64| {
            format!("add quota netdev octet_forward quota_fl3 {{ over {bytes} bytes; }}\n")
        };
        let change = |remaining, quota| quota_change("fl3", remaining, quota);
        assert_eq!(change(500, Quota { bytes: 900, used: 899 }), over(1399));
        assert_eq!(change(0, Quota { bytes: 900, used: 7 }), over(7));
        assert_eq!(change(u64::MAX, Quota { bytes: 9, used: 7 }), over(i64::MAX as u64));
        let begins_anew = "flush chain netdev octet_forward quota_fl3
delete quota netdev octet_forward quota_fl3
add quota netdev octet_forward quota_fl3 { over 500 bytes; }
add rule netdev octet_forward quota_fl3 quota name \"quota_fl3\" drop
";
        assert_eq!(change(500, Quota { bytes: 900, used: 900 }), begins_anew);
    }
}
