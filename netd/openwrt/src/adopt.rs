//! First contact with a router: what can be read without a login, and the commands with which its
//! owner creates one.

use octet_appliance::Fingerprint;
use serde_json::{Value, json};

use crate::https::{Https, HttpsError};
use crate::state::{CONFIGS, NFT};
use crate::ubus::UbusError;

/// The login, and the name of its ACL.
pub const LOGIN: &str = "octet";

/// Required ubus objects, and the package that provides each.
const NEEDS: [(&str, &str); 3] = [("uci", "rpcd"), ("session", "rpcd"), ("file", "rpcd-mod-file")];

/// What can be read of a router without a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRouter {
    /// The fingerprint of its certificate.
    pub fingerprint: Fingerprint,
    pub lacks: Vec<&'static str>,
}

/// Reads the router at `address`. Nothing is stored.
///
/// # Errors
/// The router cannot be reached, or does not run OpenWrt.
pub fn look(address: &str) -> Result<UnknownRouter, UbusError> {
    let mut https = Https::new(address, None)?;
    let list = json!({ "jsonrpc": "2.0", "id": 0, "method": "list" });
    let (status, body) = https.post("/ubus", list.to_string().into_bytes())?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let objects = answer["result"].as_array();
    let objects =
        objects.ok_or_else(|| UbusError::NoRpc(format!("it lists no objects (HTTP {status})")))?;
    let fingerprint = https.presented();
    let fingerprint =
        fingerprint.ok_or_else(|| HttpsError::Own("the certificate was not seen".to_owned()))?;
    let is_there = |name: &str| objects.iter().any(|it| it == name);
    let mut lacks: Vec<_> =
        NEEDS.iter().filter(|(object, _)| !is_there(object)).map(|(_, package)| *package).collect();
    lacks.dedup();
    Ok(UnknownRouter { fingerprint, lacks })
}

/// The ACL of the login: it may read four files and the running state, and change three files. That
/// amounts to root: options of an interface in `network` name programs that OpenWrt runs
/// (`pppd_options` with pppd's `connect`), and so do includes in `firewall`.
pub fn acl() -> Value {
    let (command, params) = NFT;
    let nft = format!("{command} {}", params.join(" "));
    let ours = &CONFIGS[..3];
    json!({ LOGIN: {
        "description": "Octet: the ports, zones and addresses of its box",
        "read": {
            "ubus": {
                "file": ["exec"],
                "network.device": ["status"],
                "network.interface": ["dump"],
                "system": ["board"],
                "uci": ["get", "changes"],
            },
            "uci": CONFIGS,
            "file": { "/sbin/fw4 check": ["exec"], nft: ["exec"] },
        },
        "write": {
            "ubus": { "uci": ["add", "delete", "revert", "apply", "confirm", "rollback"] },
            "uci": ours,
        },
    } })
}

/// The commands for the owner to paste at the router, by SSH: the ACL, and a login whose password
/// the router generates and prints once.
pub fn commands() -> Vec<String> {
    let acl = format!("/usr/share/rpcd/acl.d/{LOGIN}.json");
    let mut lines = vec![format!("cat > {acl} <<'EOF'")];
    lines.extend(format!("{:#}", self::acl()).lines().map(str::to_owned));
    lines.push("EOF".to_owned());
    lines.push("PASSWORD=$(head -c 32 /dev/urandom | sha256sum | cut -c 1-32)".to_owned());
    lines.push(format!("uci set rpcd.{LOGIN}=login"));
    lines.push(format!("uci set rpcd.{LOGIN}.username='{LOGIN}'"));
    lines.push(format!("uci set rpcd.{LOGIN}.password=\"$(uhttpd -m \"$PASSWORD\")\""));
    for right in ["read", "write"] {
        lines.push(format!("uci -q delete rpcd.{LOGIN}.{right}"));
        lines.push(format!("uci add_list rpcd.{LOGIN}.{right}='{LOGIN}'"));
    }
    lines.push("uci commit rpcd && /etc/init.d/rpcd restart".to_owned());
    lines.push(format!("echo \"the password of {LOGIN}: $PASSWORD\""));
    lines
}
