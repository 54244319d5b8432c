//! The programs at the router's console: `uci`, `uhttpd -m`, and the scripts that restart daemons.
//! Each is this program under another name, which calls the router.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::Duration;

use octet_openwrt_double::{Router, Server};
use serde_json::{Value, json};

use crate::switch;

/// The socket of the router.
const SOCKET: &str = "/run/openwrt-double";

/// The folder of the access lists of logins.
const ACLS: &str = "/usr/share/rpcd/acl.d";

/// Makes the router run `line`, and prints its answer.
pub fn ask(line: &[String]) -> ExitCode {
    match answer(line) {
        Ok(said) => {
            print!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", line[0]);
            ExitCode::FAILURE
        }
    }
}

fn answer(line: &[String]) -> io::Result<String> {
    let mut stream = UnixStream::connect(SOCKET)?;
    stream.write_all(format!("{}\n", json!(line)).as_bytes())?;
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text)?;
    let answer: Value = serde_json::from_str(&text)?;
    match answer["said"].as_str() {
        Some(said) => Ok(said.to_owned()),
        None => Err(io::Error::other(answer["failed"].as_str().unwrap_or_default().to_owned())),
    }
}

/// Answers forever.
///
/// # Errors
/// The socket cannot be created.
pub fn serve(server: &Server) -> io::Result<std::convert::Infallible> {
    let listener = UnixListener::bind(SOCKET)?;
    println!("the router is there");
    loop {
        let (stream, _) = listener.accept()?;
        // The client may have disconnected.
        let _ = attend(&stream, server);
    }
}

fn attend(mut stream: &UnixStream, server: &Server) -> io::Result<()> {
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text)?;
    let line: Vec<String> = serde_json::from_str(&text)?;
    let words: Vec<&str> = line.iter().map(String::as_str).collect();
    let answer = match act(&words, server) {
        Ok(said) => json!({ "said": said }),
        Err(error) => json!({ "failed": error }),
    };
    stream.write_all(format!("{answer}\n").as_bytes())
}

fn act(words: &[&str], server: &Server) -> Result<String, String> {
    match words {
        ["uci", "-q", rest @ ..] => Ok(server.with(|router| uci(rest, router)).unwrap_or_default()),
        ["uci", rest @ ..] => server.with(|router| uci(rest, router)),
        // The real program prints a hash.
        ["uhttpd", "-m", password] => Ok(format!("{password}\n")),
        ["rpcd", "restart"] => server.with(logins).map(|()| String::new()),
        ["network" | "firewall", "restart"] => {
            server.with(Router::restart);
            Ok(String::new())
        }
        // For tests, which then need not wait for the rollback.
        ["pass", seconds] => {
            let seconds = seconds.parse().map_err(|_| format!("{seconds}: how many seconds?"))?;
            server.pass(Duration::from_secs(seconds));
            Ok(String::new())
        }
        // Simulates a switch chip that silently violates its configuration.
        ["leak", from, to] => {
            switch::leak(from, to).map(|()| String::new()).map_err(|error| error.to_string())
        }
        _ => Err("the double knows nothing of that".to_owned()),
    }
}

/// `uci`, as far as necessary: changes are written at once, and `commit` does nothing.
fn uci(words: &[&str], router: &mut Router) -> Result<String, String> {
    let (how, path) = match words {
        ["export", name] => return Ok(router.file(name)),
        ["commit", ..] => return Ok(String::new()),
        [how, path] => (*how, *path),
        _ => return Err("Parse error".to_owned()),
    };
    let (path, value) = path.split_once('=').map_or((path, None), |(it, value)| (it, Some(value)));
    let path: Vec<&str> = path.splitn(3, '.').collect();
    let row = match (how, &path[..], value) {
        ("set", [_, section], Some(kind)) => vec!["set", section, kind],
        ("set", [_, section, key], Some(value)) => vec!["set", section, key, value],
        ("add_list", [_, section, key], Some(value)) => vec!["list-add", section, key, value],
        ("delete", [_, section], None) => vec!["remove", section],
        ("delete", [_, section, key], None) => vec!["remove", section, key],
        _ => return Err("Invalid argument".to_owned()),
    };
    let is_there = router.edit(path[0], |package| {
        let is_there = row[0] == "set" && row.len() == 3 || package.find(row[1]).is_some();
        package.follow(&row.iter().map(|word| json!(word)).collect());
        is_there
    });
    is_there.filter(|it| *it).map(|_| String::new()).ok_or("Entry not found".to_owned())
}

/// Makes `rpcd` read its logins and their access lists.
fn logins(router: &mut Router) -> Result<(), String> {
    let logins = router.edit("rpcd", |package| {
        let of = |it: &octet_openwrt_double::uci::Section| {
            let [name, password] =
                ["username", "password"].map(|key| it.one(key).map(str::to_owned));
            let groups = it.all("read").into_iter().map(str::to_owned);
            Some((name?, password?, groups.collect::<Vec<_>>()))
        };
        package.sections.iter().filter(|it| it.kind == "login").filter_map(of).collect::<Vec<_>>()
    });
    router.restart_rpcd();
    for (name, password, groups) in logins.unwrap_or_default() {
        let mut acls = json!({});
        for group in groups {
            let path = format!("{ACLS}/{group}.json");
            let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
            let acl: Value =
                serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
            acls[&group] = acl[&group].clone();
        }
        router.add_login(&name, &password, acls);
    }
    Ok(())
}
