//! The table of `docs/cache-http.md`: requests, the response of nginx for a file, and the response
//! of a node for an object with the same bytes.

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use iroh_blobs::Hash;
use tempfile::TempDir;

use crate::host::{LOOPBACK, Node, bytes, limits, path, runtime};
use crate::request::{Answer, TIMEOUT, ask, get};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cache-http.md");

/// The size of the object `file` in bytes; `empty` has none, and `missing` does not exist.
const LENGTH: usize = 1000;

/// The modification time of nginx's files: Sat, 29 Oct 1994 19:43:31 GMT.
const CHANGED: Duration = Duration::from_secs(783_459_811);

/// A row of the table.
#[derive(Debug)]
struct Row {
    request: String,
    nginx: String,
    /// Empty if the response is the same.
    ours: String,
    why: String,
}

fn table() -> Vec<Row> {
    let text = fs::read_to_string(FILE).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Row> = rows
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            let mut cells = cells.map(|cell| cell.trim().trim_matches('`').to_owned());
            let mut next = || cells.next().unwrap_or_default();
            Row { request: next(), nginx: next(), ours: next(), why: next() }
        })
        .collect();
    assert!(rows.len() > 50, "{FILE} has {} rows", rows.len());
    rows
}

/// A server under test: its address, the paths of its objects, and the entity tag of `file`.
struct Server {
    at: SocketAddr,
    path: fn(&str) -> String,
    tag: String,
}

impl Server {
    fn new(at: SocketAddr, path: fn(&str) -> String) -> Self {
        let tag = get(at, &path("file"), &[]).header("etag").to_owned();
        assert!(tag.starts_with('"'), "{tag}");
        Self { at, path, tag }
    }

    /// Sends a request of the table, and describes the response.
    fn answer(&self, request: &str) -> String {
        let mut parts = request.split("; ");
        let (method, name) = parts.next().unwrap().split_once(' ').unwrap();
        let (name, query) =
            name.split_once('?').map_or((name, None), |(name, it)| (name, Some(it)));
        let mut path = (self.path)(name);
        path.extend(query.map(|it| format!("?{it}")));
        let headers: Vec<(&str, String)> = parts
            .map(|it| it.split_once(": ").unwrap())
            .map(|(name, value)| (name, value.replace("TAG", &self.tag)))
            .collect();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let all = if name == "file" { bytes(LENGTH, 1) } else { vec![] };
        describe(&ask(self.at, method, &path, &headers), method == "HEAD", &all)
    }
}

/// Summarises the response. A body must hold the bytes that its header fields announce.
fn describe(answer: &Answer, is_head: bool, all: &[u8]) -> String {
    let what = match answer.code {
        200 | 206 if is_head => {
            assert!(answer.body.is_empty());
            format!("length {}", answer.header("content-length"))
        }
        200 => {
            assert!(answer.body == all);
            "all".to_owned()
        }
        206 => match answer.header("content-type").split_once("boundary=") {
            None => part(answer.header("content-range"), &answer.body, all),
            Some((_, boundary)) => several(&answer.body, boundary, all),
        },
        416 => answer.header("content-range").to_owned(),
        405 if !answer.header("allow").is_empty() => format!("Allow: {}", answer.header("allow")),
        _ => return answer.code.to_string(),
    };
    format!("{}: {what}", answer.code)
}

/// Describes a single part by its `Content-Range`.
fn part(range: &str, body: &[u8], all: &[u8]) -> String {
    let (span, size) = range.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
    let (first, last) = span.split_once('-').unwrap();
    assert!(size.parse() == Ok(all.len()), "{range}");
    assert!(body == &all[first.parse().unwrap()..=last.parse().unwrap()], "{range}");
    span.to_owned()
}

/// Describes each part of a multipart body (RFC 9110, section 14.6).
fn several(body: &[u8], boundary: &str, all: &[u8]) -> String {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|it| it == what);
    let mark = format!("\r\n--{boundary}");
    let (mut rest, mut found) = (body, vec![]);
    loop {
        let start = find(rest, mark.as_bytes()).expect("a boundary");
        rest = &rest[start + mark.len()..];
        if rest == b"--\r\n" {
            return found.join(", ");
        }
        let head = find(rest, b"\r\n\r\n").expect("the head of a part");
        let text = String::from_utf8(rest[..head].to_vec()).unwrap();
        let range = text.lines().find_map(|line| line.strip_prefix("Content-Range: ")).unwrap();
        rest = &rest[head + 4..];
        let end = find(rest, mark.as_bytes()).expect("the end of a part");
        found.push(part(range, &rest[..end], all));
    }
}

#[test]
fn answers_are_those_of_the_table() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    runtime.block_on(node.add(&bytes(LENGTH, 1)));
    runtime.block_on(node.add(b""));
    let server = Server::new(node.http, |name| match name {
        "file" => path(Hash::new(bytes(LENGTH, 1))),
        "empty" => path(Hash::new(b"")),
        _ => path(Hash::new(b"missing")),
    });
    let mut wrong = vec![];
    for row in table() {
        let answer = server.answer(&row.request);
        let expected = if row.ours.is_empty() { &row.nginx } else { &row.ours };
        if answer != *expected {
            wrong.push(format!("{}: {answer}, not {expected}", row.request));
        }
        // Exactly the rows with a difference give a reason.
        assert_eq!(row.ours.is_empty(), row.why.is_empty(), "{row:?}");
        assert_ne!(row.ours, row.nginx, "{row:?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts nginx from Debian's packages in `unpacked`, with its defaults, on `folder`.
fn nginx(unpacked: &Path, folder: &Path) -> (Nginx, SocketAddr) {
    let at = TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap();
    let paths: String = ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"]
        .map(|it| format!("{it}_temp_path {0}/{it};\n", folder.display()))
        .concat();
    let conf = format!(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log; events {{}}\n\
         http {{ access_log off; {paths} server {{ listen {at}; root {0}/files; }} }}\n",
        folder.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, conf).unwrap();
    let mut command = Command::new(unpacked.join("usr/sbin/nginx"));
    let libraries = ["usr/lib", "lib"]
        .map(|it| unpacked.join(format!("{it}/{}-linux-gnu", env::consts::ARCH)))
        .map(|it| it.display().to_string());
    command.env("LD_LIBRARY_PATH", libraries.join(":"));
    command.arg("-c").arg(&file).arg("-p").arg(folder).stderr(Stdio::null());
    let nginx = Nginx(command.spawn().unwrap());
    let begun = Instant::now();
    while TcpStream::connect(at).is_err() {
        assert!(begun.elapsed() < TIMEOUT, "late: nginx");
        sleep(Duration::from_millis(10));
    }
    (nginx, at)
}

/// The folder into which `cargo image test --soak --setup` has unpacked Debian's packages.
const UNPACKED: &str = "OCTET_UNPACKED";

/// It prints the rows that differ.
#[test]
#[ignore = "long: what nginx answers stays as it was recorded"]
fn nginx_answers_as_the_table_has_it() {
    let unpacked = env::var_os(UNPACKED).expect("run by `cargo image test --soak --setup`");
    let folder = TempDir::new().unwrap();
    let files = folder.path().join("files");
    fs::create_dir(&files).unwrap();
    for (name, all) in [("file", bytes(LENGTH, 1)), ("empty", vec![])] {
        fs::write(files.join(name), all).unwrap();
        let file = fs::File::options().write(true).open(files.join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + CHANGED).unwrap();
    }
    let (_nginx, at) = nginx(Path::new(&unpacked), folder.path());
    let server = Server::new(at, |name| format!("/{name}"));
    let mut wrong = vec![];
    for row in table() {
        let answer = server.answer(&row.request);
        if answer != row.nginx {
            wrong.push(format!("| `{}` | `{answer}` |", row.request));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
