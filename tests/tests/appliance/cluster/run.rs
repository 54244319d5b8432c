//! `cargo image run --cluster` and `cargo image lan`: the box as the user sees it, and as a device
//! in its lan does.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, ToSocketAddrs};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use octet_machine::Cluster;
use octet_tests::{Image, InTerminal, READY, SOON, builder, guest, must, run, soak};
use rustix::process::{Signal, geteuid};

/// Two additional services: one for both boards, and one for one of them.
const BOARDS: &str = r#"
[[board]]
number = 1
services = ["store"]

[[board]]
number = 2
services = ["store", "fetcher"]

[[publish]]
port = "tcp/8088"
to = "board-2"
at = "tcp/8080"
"#;

/// The router's address for hosts outside.
const UPLINK: &str = "198.18.2.1";

/// The user `nobody`, who has no privileges.
pub const NOBODY: u32 = 65534;

#[test]
fn one_command_makes_of_blank_machines_one_box() {
    let own = ["store", "fetcher"].map(|name| (name, guest("hello")));
    let image = Image::with_services_and(&own, BOARDS);
    let out = image.folder.parent().unwrap();
    let appliance = out.with_file_name("appliance.toml");
    let cluster = |boards: &str| {
        let mut command = Command::new(builder());
        command.arg("run").arg("--appliance").arg(&appliance).arg("--out").arg(out);
        command.args(["--cluster", boards]).stdin(Stdio::null());
        command
    };
    // No other test may run machines meanwhile.
    let _alone = Cluster::new(4, true).unwrap();
    let mut terminal = InTerminal::start(cluster("2"));
    terminal.wait_for("machines are one box", 2 * READY);
    println!("{}", terminal.text);
    let row = |node: &str| {
        let rows = terminal.text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        { rows }.find(|row| row.first() == Some(&node)).unwrap()
    };
    let sequence = row("router")[2];
    assert_eq!(row("router")[1], "coordinator");
    for (number, services) in [(1, "store"), (2, "fetcher, store")] {
        let (name, address) = (format!("board-{number}"), format!("10.20.{number}.2"));
        let row = row(&name);
        assert_eq!(row[1..4], ["enrolled", sequence, &address]);
        // After the time of readiness in seconds, and the number of its units.
        assert_eq!(row[7..].join(" "), services);
    }
    let person = Person::new(out, 1);
    is_a_device_in_the_lan(&person);
    is_a_device_outside(&person);
    // Before board 2 is restarted.
    let mut ports = has_ports_into_the_lan(&person);
    has_machines_that_are_switched_on_and_off(&person, &mut terminal);
    // A device exists until its cable is pulled, which happens at the end of the box.
    let until = "echo plugged; while ip link show dev lan | grep -q LOWER_UP; do sleep 0.2; done";
    let mut device = InTerminal::start(person.lan(&["sh", "-c", until]));
    device.wait_for("plugged", SOON);
    terminal.signal(Signal::INT);
    let status = terminal.end();
    assert!(status.success() && terminal.text.ends_with("powered off\r\n"), "{}", terminal.text);
    assert!(device.end().success(), "{}", device.text);
    assert!(device.text.contains("has been turned off"), "{}", device.text);
    assert!(ports.end().success(), "{}", ports.text);
    assert!(ports.text.contains("has been turned off"), "{}", ports.text);
    let nobody_there = run(&mut person.lan(&["true"]));
    assert!(nobody_there.stderr.contains("cargo image run"), "{}", nobody_there.stderr);
    // A larger number of boards than in the file is refused.
    let error = run(&mut cluster("16"));
    assert_eq!(error.status, Some(1));
    assert!(
        error.stderr.contains("boards") && error.stderr.contains("[cluster]"),
        "{}",
        error.stderr
    );
}

/// The user of `cargo image lan`: the unprivileged `nobody` if the tests run as root.
pub struct Person {
    /// The folder that replaces the clone: its folder `out` is the one that the box runs from.
    clone: tempfile::TempDir,
    builder: PathBuf,
}

impl Person {
    pub fn new(out: &Path, machine: u32) -> Self {
        let clone = tempfile::tempdir().unwrap();
        let at = |name: &str| clone.path().join(name);
        fs::create_dir(at("overlays")).unwrap();
        fs::write(at("Cargo.toml"), "").unwrap();
        symlink(out, at("out")).unwrap();
        fs::create_dir_all(at(".config/octet")).unwrap();
        fs::write(at(".config/octet/key"), "a key\n").unwrap();
        let builder = at("octet-image");
        fs::copy(octet_tests::builder(), &builder).unwrap();
        if geteuid().is_root() {
            // The files of the user who has started the box are given to `nobody`.
            let text = fs::read_to_string(out.join(format!("machines/{machine}"))).unwrap();
            let sockets = Path::new(text.lines().nth(1).unwrap());
            for open in [clone.path(), out.parent().unwrap(), sockets.parent().unwrap()] {
                fs::set_permissions(open, Permissions::from_mode(0o755)).unwrap();
            }
            for own in ["lan", "outside", "config"] {
                chown(sockets.join(own), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        Self { clone, builder }
    }

    /// A command of a device in the lan.
    pub fn lan(&self, command: &[&str]) -> Command {
        self.in_clone(&[&["lan", "--"], command].concat())
    }

    pub fn in_clone(&self, arguments: &[&str]) -> Command {
        let mut own = Command::new("env");
        own.arg(format!("--chdir={}", self.clone.path().display()));
        if geteuid().is_root() {
            let nobody = NOBODY.to_string();
            own.args(["setpriv", "--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
        }
        own.arg(&self.builder).args(arguments).stdin(Stdio::null());
        self.at_home(own)
    }

    /// The home folder of the user who runs the tests must not be used.
    fn at_home(&self, mut command: Command) -> Command {
        command.env("HOME", self.clone.path()).env_remove("XDG_CONFIG_HOME");
        command
    }

    /// The command `cargo image` with these arguments, by the user who has started the box.
    pub fn owner(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.builder);
        command.current_dir(self.clone.path()).args(arguments).stdin(Stdio::null());
        command
    }
}

fn has_machines_that_are_switched_on_and_off(person: &Person, terminal: &mut InTerminal) {
    let box_of = |arguments: &[&str]| {
        let said = must(&mut person.owner(&[&["box"], arguments].concat())).stdout;
        let rows = said.lines().skip(1).map(|row| row.split("  ").map(str::trim));
        let rows = rows.map(|row| row.filter(|it| !it.is_empty()).map(str::to_owned).collect());
        let rows: Vec<Vec<String>> = rows.collect();
        [1, 2].map(|board| rows[board][1..].join(", "))
    };
    assert_eq!(box_of(&[]), ["on, port 1", "on, port 2"]);
    assert_eq!(box_of(&["unplug", "1"]), ["on, unplugged", "on, port 2"]);
    assert_eq!(box_of(&["plug", "1"]), ["on, port 1", "on, port 2"]);
    assert_eq!(box_of(&["off", "2"]), ["on, port 1", "off, port 2"]);
    let off = run(&mut person.owner(&["ctl", "--board", "2", "status"]));
    assert!(off.stderr.contains("is off") && off.stderr.contains("box on"), "{}", off.stderr);
    for (arguments, word) in [(["off", "2"], "is off"), (["on", "1"], "is on"), (["on", "9"], "8")]
    {
        let refused = run(&mut person.owner(&[&["box"], &arguments[..]].concat()));
        assert!(refused.status != Some(0) && refused.stderr.contains(word), "{}", refused.stderr);
    }
    // To boot the board twice more says little.
    if !soak() {
        return;
    }
    assert_eq!(box_of(&["on", "2"]), ["on, port 1", "on, port 2"]);
    // One board reboots by itself; the other one stays off.
    must(&mut person.owner(&["ctl", "--board", "2", "reboot"]));
    terminal.wait_for("board-2 reboots", SOON);
    must(&mut person.owner(&["ctl", "--board", "1", "poweroff"]));
    terminal.wait_for("board-1 has powered off", SOON);
    assert_eq!(box_of(&[]), ["powered off, port 1", "on, port 2"]);
    must(&mut person.owner(&["ctl", "--board", "2", "status"]));
}

fn is_a_device_in_the_lan(person: &Person) {
    let lan = |command: &str| must(&mut person.lan(&["sh", "-c", command])).stdout;
    // The user is the same inside as outside, and the device gets the same address again.
    let [first, second] = [(); 2].map(|()| lan("id -u; ip -4 -oneline address show dev lan"));
    let (id, address) = first.split_once('\n').unwrap();
    assert_ne!(id, "0");
    let address = address.split_whitespace().nth(3).unwrap();
    assert!(address.starts_with("10.20.250.") && address.ends_with("/24"), "{first}");
    assert!(second.contains(address), "{first}{second}");
    // Names and TCP: a response of a board's cache over HTTP. The host cannot resolve this name.
    let name = "board-2.octet.internal";
    let get = format!(
        "import http.client, os, sys\n\
         cache = http.client.HTTPConnection('{name}', 8080)\n\
         cache.request('GET', '/b/x')\n\
         print(cache.getresponse().status)\n\
         open(os.environ['XDG_CONFIG_HOME'] + '/kept', 'a').write('x')\n\
         print(os.environ.get('http_proxy'))"
    );
    let mut get = person.lan(&["python3", "-c", &get]);
    assert_eq!(must(get.env("http_proxy", "http://127.0.0.1:1")).stdout, "400\nNone\n");
    assert!((name, 8080).to_socket_addrs().is_err(), "this host knows {name}");
    // Files in the config folder persist, beside the operator's key from outside.
    assert_eq!(lan("cat $XDG_CONFIG_HOME/kept $XDG_CONFIG_HOME/octet/key"), "xa key\n");
    // Nothing else is reachable: a listener of the host is not.
    let here = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let here = here.local_addr().unwrap().port();
    let dial = format!("import socket; socket.create_connection(('127.0.0.1', {here}), 10)");
    must(Command::new("python3").args(["-c", &dial]));
    let refused = run(&mut person.lan(&["python3", "-c", &dial]));
    assert!(refused.stderr.contains("ConnectionRefusedError"), "{}", refused.stderr);
    // The exit status of the command is passed on.
    assert_eq!(run(&mut person.lan(&["sh", "-c", "exit 7"])).status, Some(7));
    assert_eq!(run(&mut person.lan(&["sh", "-c", "kill -9 $$"])).status, Some(128 + 9));
    // A host on which users may not create namespaces.
    let none = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let mut forbidden = Command::new("unshare");
    forbidden.args(["--user", "--map-root-user", "sh", "-c", none, "sh"]);
    let command = person.lan(&["true"]);
    forbidden.arg("env").args(command.get_args().take_while(|it| *it != "setpriv"));
    forbidden.arg(&person.builder).args(["lan", "true"]);
    let forbidden = run(&mut person.at_home(forbidden));
    assert_ne!(forbidden.status, Some(0));
    assert!(forbidden.stderr.contains("user.max_user_namespaces"), "{}", forbidden.stderr);
}

/// From outside, published ports answer, and no others do.
fn is_a_device_outside(person: &Person) {
    let closed = [(UPLINK, 8080), (UPLINK, 4040), ("10.20.2.2", 8080)];
    let script = silent_beside(&closed, (UPLINK, 8088));
    let outside = ["lan", "--side", "outside", "python3", "-c", &script];
    let said = must(&mut person.in_clone(&outside));
    assert_eq!(said.stdout, "400 True\n", "{}", said.stderr);
    assert!(said.stderr.contains("198.18.3."), "{}", said.stderr);
}

/// A program that calls the board's cache at `open` until it answers, starts connections to those
/// in `closed`, calls it again, and prints its answer, and whether none of the others has answered
/// before.
pub fn silent_beside(closed: &[(&str, u16)], open: (&str, u16)) -> String {
    let closed: String =
        closed.iter().map(|(host, port)| format!("('{host}', {port}), ")).collect();
    let (host, port) = open;
    format!(
        "import http.client, socket, time\n\
         def ask():\n\
         \x20   for _ in range(900):\n\
         \x20       try:\n\
         \x20           cache = http.client.HTTPConnection('{host}', {port})\n\
         \x20           cache.request('GET', '/b/x')\n\
         \x20           return cache.getresponse().status\n\
         \x20       except ConnectionRefusedError:\n\
         \x20           time.sleep(0.2)\n\
         ask()\n\
         closed = [{closed}]\n\
         begun = [socket.socket() for _ in closed]\n\
         for one, to in zip(begun, closed):\n\
         \x20   one.setblocking(False)\n\
         \x20   one.connect_ex(to)\n\
         status = ask()\n\
         TCP_SYN_SENT = 2\n\
         states = [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] for one in begun]\n\
         print(status, states == [TCP_SYN_SENT] * len(begun))"
    )
}

/// A browser of the host reaches the lan through a proxy and a forwarded port. Returns the process
/// that serves them.
fn has_ports_into_the_lan(person: &Person) -> InTerminal {
    let name = "board-2.octet.internal";
    let lan = |forward: &str| {
        InTerminal::start(person.in_clone(&["lan", "--listen", "0", "--forward", forward]))
    };
    let mut ports = lan(&format!("0:{name}:8080"));
    ports.wait_for("leads to", SOON);
    let at = |row: &str| {
        let row = ports.text.lines().find_map(|line| line.strip_prefix(row)).unwrap();
        let port = row.trim_start().strip_prefix("127.0.0.1:").unwrap();
        port.split_once(' ').unwrap().0.parse::<u16>().unwrap()
    };
    let connect = |port| {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    };
    let get = |mut stream: TcpStream, host: &str| {
        write!(stream, "GET /b/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_whitespace().nth(1).unwrap().to_owned()
    };
    // RFC 1928: no authentication; connect to a name.
    let mut socks = connect(at("socks"));
    let length = u8::try_from(name.len()).unwrap();
    let port = 8080_u16.to_be_bytes();
    socks.write_all(&[&[5, 1, 0, 5, 1, 0, 3, length], name.as_bytes(), &port].concat()).unwrap();
    // The reply has an IPv4 or an IPv6 address.
    let mut reply = [0; 2 + 4];
    socks.read_exact(&mut reply).unwrap();
    assert_eq!(reply[..5], [5, 0, 5, 0, 0]);
    let bound = if reply[5] == 1 { 4 } else { 16 };
    socks.read_exact(&mut vec![0; bound + 2]).unwrap();
    assert_eq!(get(socks, name), "400");
    let forwarded = at("forward");
    assert_eq!(get(connect(forwarded), &format!("localhost:{forwarded}")), "400");
    assert_eq!(get(connect(forwarded), "evil.example"), "403");
    // A port cannot be forwarded twice, and ctrl-C releases it.
    let forward = format!("{forwarded}:{name}:8080");
    let taken = run(&mut person.in_clone(&["lan", "--forward", &forward]));
    assert!(taken.stderr.contains(&format!("port {forwarded} ")), "{}", taken.stderr);
    let mut other = lan("udp:0:router:53");
    other.wait_for("leads to", SOON);
    other.signal(Signal::INT);
    assert!(other.end().success(), "{}", other.text);
    ports
}
