//! Every service of the image, and the operator's command, in one program: it is the one by whose
//! name it is called.
//!
//! They stay apart as processes, users and sandboxes. What they share is the pages of this file:
//! one copy of the standard library and of the control protocol on flash and in memory.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(|name| name.to_str()) {
        #[cfg(feature = "cache")]
        Some("cache") => octet_cache::main(),
        #[cfg(feature = "clock")]
        Some("clock") => octet_clock::main(),
        #[cfg(feature = "cluster")]
        Some("cluster") => octet_cluster::main(),
        #[cfg(feature = "config")]
        Some("config") => octet_config::main(),
        #[cfg(feature = "console")]
        Some("console") => octet_console::main(),
        #[cfg(feature = "forward")]
        Some("forward") => octet_forward::main(),
        #[cfg(feature = "gate")]
        Some("gate") => octet_gate::main(),
        #[cfg(feature = "identity")]
        Some("identity") => octet_identity::main(),
        #[cfg(feature = "lan")]
        Some("lan") => octet_lan::main(),
        #[cfg(feature = "logd")]
        Some("logd") => octet_logd::main(),
        #[cfg(feature = "messenger")]
        Some("messenger") => octet_messenger::main(),
        #[cfg(feature = "netd")]
        Some("netd") => octet_netd::main(),
        #[cfg(feature = "router")]
        Some("router") => octet_router_unit::main(),
        #[cfg(feature = "update")]
        Some("update") => octet_update::main(),
        Some("octetctl") => octetctl::main(),
        _ => {
            eprintln!("{} is no service of this image", name.display());
            ExitCode::from(2)
        }
    }
}
