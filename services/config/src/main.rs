//! The program. For tests, `--root FOLDER` makes it use and listen in that folder, and treat its
//! own user as PID 1's.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

use octet_config::paths::{BuiltConfig, ConfigPaths};
use octet_node::say;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match (args.next(), args.next()) {
        (None, _) => octet_config::main(),
        (Some(option), Some(root)) if option == "--root" => {
            let root = PathBuf::from(root);
            let socket = root.join("config.sock");
            // Removes the socket of an earlier process, if any.
            let _ = std::fs::remove_file(&socket);
            let (text, settings) = (root.join("appliance.toml"), root.join("settings.json"));
            let places = ConfigPaths {
                image: BuiltConfig { text, settings },
                units: root.join("units.json"),
                sockets: root,
                state: std::env::var_os("STATE_DIRECTORY").map(PathBuf::from),
                pid_1: rustix::process::geteuid().as_raw(),
            };
            octet_node::run(|_| {
                let listener = UnixListener::bind(&socket)
                    .map_err(|error| format!("{}: {error}", socket.display()))?;
                octet_config::run(&places, &listener).map(|never| match never {})
            })
        }
        _ => {
            say!("the only option is `--root FOLDER`");
            ExitCode::from(2)
        }
    }
}
