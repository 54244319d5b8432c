//! Ways of others, by programs of Debian's: each set up as its documentation has it, without encryption that it does
//! not need.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::node::Node;
use crate::wires::Plug;
use crate::{ENDS, Failed, NODES};

const YGGDRASIL: &str = "/usr/sbin/yggdrasil";
const NEBULA: &str = "/usr/bin/nebula";
const NEBULA_CERT: &str = "/usr/bin/nebula-cert";

/// Where their settings and keys are.
const FOLDER: &str = "/run/chain";

/// Where Yggdrasil's neighbours find each other.
const YGGDRASIL_PORT: u16 = 9001;

const NEBULA_PORT: u16 = 4242;

/// Programs that carry packets. They end with the value.
pub struct Overlay {
    /// The address of the last node.
    pub end: IpAddr,
    programs: Vec<Child>,
}

impl Overlay {
    /// One at each node, which knows its neighbours.
    pub fn yggdrasil(nodes: &[Node; NODES]) -> Result<Self, Failed> {
        let folder = folder()?;
        let mut overlay = Self { end: Ipv6Addr::UNSPECIFIED.into(), programs: vec![] };
        for (number, node) in nodes.iter().enumerate() {
            let settings = said(YGGDRASIL, &["-genconf", "-json"])?;
            let mut settings: Value = serde_json::from_str(&settings)?;
            // Each asks the one before it, by TCP: that of TLS would be encrypted twice.
            let before = Plug::before(number).map(|plug| plug.other().address());
            let before = before.map(|address| format!("tcp://{address}:{YGGDRASIL_PORT}"));
            settings["Peers"] = json!(Vec::from_iter(before));
            settings["Listen"] = json!([format!("tcp://0.0.0.0:{YGGDRASIL_PORT}")]);
            settings["MulticastInterfaces"] = json!([]);
            settings["AdminListen"] = json!("none");
            let file = write(&folder, &format!("yggdrasil-{number}"), &settings)?;
            if number == ENDS[1] {
                let address = said(YGGDRASIL, &["-useconffile", &file, "-address"])?;
                overlay.end = address.trim().parse()?;
            }
            overlay.programs.push(start(node, YGGDRASIL, &["-useconffile", &file])?);
        }
        Ok(overlay)
    }

    /// One at each end, which speak to each other over the nodes between: these forward plainly. Nebula hands on over
    /// one node of its own at most.
    pub fn nebula(nodes: &[Node; NODES]) -> Result<Self, Failed> {
        let folder = folder()?;
        let file = |name: &str| folder.join(name).display().to_string();
        let [ca, ca_key] = [file("ca.crt"), file("ca.key")];
        said(NEBULA_CERT, &["ca", "-name", "chain", "-out-crt", &ca, "-out-key", &ca_key])?;
        let address = |end: usize| Ipv4Addr::new(172, 31, 0, 1 + end as u8);
        let mut overlay = Self { end: address(1).into(), programs: vec![] };
        for (end, number) in ENDS.into_iter().enumerate() {
            let [certificate, key] = ["crt", "key"].map(|it| file(&format!("{number}.{it}")));
            let own = format!("{}/24", address(end));
            let sign = ["sign", "-ca-crt", &ca, "-ca-key", &ca_key, "-name", &own, "-ip", &own];
            let out = ["-out-crt", &certificate, "-out-key", &key];
            said(NEBULA_CERT, &[&sign[..], &out].concat())?;
            let (other, far) = (address(1 - end).to_string(), ENDS[1 - end]);
            let at = Plug::of(far).next().ok_or("a node has no wire")?.address();
            let all = json!([{ "port": "any", "proto": "any", "host": "any" }]);
            // JSON is YAML.
            let settings = json!({
                "pki": { "ca": ca, "cert": certificate, "key": key },
                "static_host_map": { other: [format!("{at}:{NEBULA_PORT}")] },
                "lighthouse": { "am_lighthouse": false, "hosts": [] },
                "listen": { "host": "0.0.0.0", "port": NEBULA_PORT },
                "tun": { "dev": "nebula" },
                "firewall": { "outbound": all, "inbound": all },
            });
            let settings = write(&folder, &format!("nebula-{number}.yml"), &settings)?;
            overlay.programs.push(start(&nodes[number], NEBULA, &["-config", &settings])?);
        }
        Ok(overlay)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

/// A folder with nothing in it.
fn folder() -> Result<PathBuf, Failed> {
    let folder = PathBuf::from(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir(&folder)?;
    Ok(folder)
}

fn write(folder: &Path, name: &str, settings: &Value) -> Result<String, Failed> {
    let file = folder.join(name);
    fs::write(&file, settings.to_string())?;
    Ok(file.display().to_string())
}

fn said(program: &str, words: &[&str]) -> Result<String, Failed> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {}: {said}", words.join(" ")).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Starts a program at `node`.
fn start(node: &Node, program: &'static str, words: &[&str]) -> Result<Child, Failed> {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let started = move || Command::new(program).args(words).stdin(Stdio::null()).spawn();
    node.run(move |_| Ok(started()?))
}
