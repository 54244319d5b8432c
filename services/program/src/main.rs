//! All services of the image and `octetctl` in one program, which selects one by the name that it
//! is started with.
//!
//! They are separate processes with their own users and sandboxes. They only share the pages of
//! this file: there is one copy of the standard library and the control protocol on flash and in
//! memory.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().and_then(|name| name.to_str());
    if let Some(main) = name.and_then(service) {
        return main();
    }
    eprintln!("{} is not a service of this image", called.display());
    ExitCode::from(2)
}

/// The entry point of a service.
fn service(name: &str) -> Option<fn() -> ExitCode> {
    Some(match name {
        #[cfg(feature = "accounts")]
        "accounts" => octet_accounts::main,
        #[cfg(feature = "cache")]
        "cache" => octet_cache::main,
        #[cfg(feature = "clock")]
        "clock" => octet_clock::main,
        #[cfg(feature = "cluster")]
        "cluster" => octet_cluster::main,
        #[cfg(feature = "config")]
        "config" => octet_config::main,
        #[cfg(feature = "console")]
        "console" => octet_console::main,
        #[cfg(feature = "face")]
        "face" => octet_face::main,
        #[cfg(feature = "forward")]
        "forward" => octet_forward::main,
        #[cfg(feature = "gate")]
        "gate" => octet_gate::main,
        #[cfg(feature = "identity")]
        "identity" => octet_identity::main,
        #[cfg(feature = "lan")]
        "lan" => octet_lan::main,
        #[cfg(feature = "ledger")]
        "ledger" => octet_ledger::main,
        #[cfg(feature = "logd")]
        "logd" => octet_logd::main,
        #[cfg(feature = "messenger")]
        "messenger" => octet_messenger::main,
        #[cfg(feature = "netd")]
        "netd" => octet_netd::main,
        #[cfg(feature = "origin")]
        "origin" => octet_origin::main,
        #[cfg(feature = "router")]
        "router" => octet_router_unit::main,
        #[cfg(feature = "update")]
        "update" => octet_update::main,
        "octetctl" => octetctl::main,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_folder_with_a_unit_is_a_service() {
        let services = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let folders = fs::read_dir(services).unwrap().map(|entry| entry.unwrap().path());
        let units: Vec<_> = folders.filter(|folder| folder.join("unit.toml").is_file()).collect();
        assert!(units.iter().any(|folder| folder.ends_with("gate")), "{units:?}");
        for folder in units {
            let name = folder.file_name().unwrap().to_str().unwrap();
            assert!(service(name).is_some(), "{name} is not in the program");
        }
        assert!(service("octetctl").is_some() && service("netd").is_some());
        assert!(service("program").is_none());
    }
}
