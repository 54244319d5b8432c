//! The command against a simulated router, over TLS.

#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use octet_openwrt_double::{Fault, Router, Server};
use tempfile::TempDir;

const SETTINGS: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = [\"gate\", \"netd\"]\n\
    [cluster]\nboards = 4\nrouter = \"openwrt\"\nuplink = \"wan\"\nports = [\"lan1\", \"lan2\", \"lan3\", \"lan4\"]\n\
    [[board]]\nnumber = 1\nrole = \"manager\"\n[lan]\nport = \"lan5\"\n\
    [[policy]]\nfrom = \"lan\"\nto = \"boards\"\nservice = \"gate\"\n";

/// A folder with settings, and a router whose owner is connected by a separate port.
struct Site {
    folder: TempDir,
    server: Server,
}

impl Site {
    fn start() -> Self {
        let network = Router::default()
            .file("network")
            .replace("'br-lan'\n\toption proto", "'br-lan.1'\n\toption proto")
            + "config bridge-vlan 'mine'\n\toption device 'br-lan'\n\toption vlan '1'\n\tlist ports 'lan8:u*'\n\n";
        let server = Server::start(Router::with(&[("network", &network)])).unwrap();
        // No delay: the command uses the real clock.
        server.with(|router| router.delay = 0);
        let folder = TempDir::new().unwrap();
        let site = Self { folder, server };
        std::fs::write(site.path("appliance.toml"), SETTINGS).unwrap();
        std::fs::write(site.path("password"), "adapterpw\n").unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn fingerprint(&self) -> String {
        let bytes = self.server.fingerprint();
        format!("sha256:{}", bytes.map(|byte| format!("{byte:02x}")).concat())
    }

    /// The command with all of its options.
    fn command(&self, verb: &str, fingerprint: &str) -> Command {
        let octet = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut command = Command::new(env!("CARGO_BIN_EXE_octetctl"));
        command.args(["openwrt", verb, "--login", "adapter", "--fingerprint", fingerprint]);
        command.args(["--address", &self.server.address().to_string()]);
        command.arg("--settings").arg(self.path("appliance.toml")).arg("--octet").arg(octet);
        command.env("XDG_CONFIG_HOME", self.folder.path()).env_remove("OCTET_OPENWRT_PASSWORD");
        command
    }

    /// The output of a command that succeeds.
    fn run(&self, verb: &str) -> String {
        let mut command = self.command(verb, &self.fingerprint());
        said(command.arg("--password-file").arg(self.path("password")).output().unwrap())
    }
}

fn said(output: Output) -> String {
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(output: Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn there_and_back() {
    let site = Site::start();
    let address = site.server.address().to_string();
    let adopt = Command::new(env!("CARGO_BIN_EXE_octetctl"))
        .args(["openwrt", "adopt", &address])
        .env("XDG_CONFIG_HOME", site.folder.path())
        .output();
    let adopt = said(adopt.unwrap());
    assert!(adopt.contains(&site.fingerprint()), "{adopt}");
    assert!(adopt.contains("/usr/share/rpcd/acl.d/octet.json"), "{adopt}");

    let diff = site.run("diff");
    println!("{adopt}\n{diff}");
    assert!(diff.contains("+ network bridge-vlan 'octet_vlan_1'"), "{diff}");
    site.server.count(None);
    let before = refused(
        site.command("verify", &site.fingerprint())
            .env("OCTET_OPENWRT_PASSWORD", "adapterpw")
            .output()
            .unwrap(),
    );
    println!("{before}");
    assert!(before.contains("differences from the plan"), "{before}");
    assert_eq!(site.server.writing(), 0);

    let wrong = format!("sha256:{}", "07".repeat(32));
    let mut command = site.command("apply", &wrong);
    let error = refused(command.env("OCTET_OPENWRT_PASSWORD", "adapterpw").output().unwrap());
    println!("{error}");
    assert!(error.contains("not sha256:0707") && error.contains("help: "), "{error}");
    let mut command = site.command("apply", &site.fingerprint());
    let error = refused(command.env("OCTET_OPENWRT_PASSWORD", "other").output().unwrap());
    assert!(error.contains("rejects the user `adapter`"), "{error}");
    let error = refused(site.command("apply", &site.fingerprint()).output().unwrap());
    assert!(error.contains("OCTET_OPENWRT_PASSWORD"), "{error}");
    assert_eq!(site.server.writing(), 0);

    let untouched = site.server.with(|router| router.file("network"));
    let apply = site.run("apply");
    println!("{apply}");
    assert!(apply.contains("Done, and confirmed"), "{apply}");
    let copies = || {
        let folder = std::fs::read_dir(site.path("octet/openwrt")).unwrap();
        let mut files: Vec<_> = folder.map(|file| file.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect::<Vec<_>>()
    };
    let [first, last] = &copies()[..] else { panic!("{:?}", copies()) };
    assert!(first == last && first.contains("config bridge-vlan 'mine'"), "{first}");
    assert!(!first.contains("octet_"), "{first}");
    assert!(site.run("verify").contains("as the plan says"));
    assert!(site.run("diff").contains("Nothing is to be changed"));
    assert!(site.run("apply").contains("Nothing is to be done"));

    // The router's address is in the settings.
    let contact = format!(
        "{{ kind = \"openwrt\", address = \"{address}\", fingerprint = \"{}\" }}",
        site.fingerprint()
    );
    assert!(adopt.contains(&contact), "{adopt}");
    let settings = SETTINGS.replace("\"openwrt\"", &contact);
    std::fs::write(site.path("appliance.toml"), settings).unwrap();
    let octet = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_octetctl"));
    command.args(["openwrt", "release", "--login", "adapter", "--settings"]);
    command.arg(site.path("appliance.toml")).arg("--octet").arg(octet);
    command.env("XDG_CONFIG_HOME", site.folder.path()).env("OCTET_OPENWRT_PASSWORD", "adapterpw");
    assert!(said(command.output().unwrap()).contains("Done, and confirmed"));
    let [before, last] = &copies()[..] else { panic!("{:?}", copies()) };
    assert!(before == first && last.contains("octet_"), "{last}");
    assert_eq!(site.server.with(|router| router.file("network")), untouched);
}

/// If the command is killed at any request, the router is in the old or the new state, and the next
/// `apply` succeeds.
#[test]
fn killed_at_every_request() {
    let steps = {
        let site = Site::start();
        site.server.count(None);
        site.run("apply");
        site.server.requests().len()
    };
    let new = {
        let site = Site::start();
        site.run("apply");
        site.server.with(|router| router.file("network"))
    };
    assert!(steps >= 6, "{steps}");
    for step in 0..steps {
        for fault in [Fault::HoldBefore, Fault::HoldAfter] {
            let site = Site::start();
            let old = site.server.with(|router| router.file("network"));
            site.server.count(Some((step, fault)));
            let mut command = site.command("apply", &site.fingerprint());
            command.env("OCTET_OPENWRT_PASSWORD", "adapterpw").stdout(Stdio::null());
            let mut child = command.spawn().unwrap();
            // The simulated router holds that request.
            site.server.wait_until_gone();
            child.kill().unwrap();
            assert!(!child.wait().unwrap().success());
            site.server.back();
            site.server.pass(Duration::from_secs(300));
            let now = site.server.with(|router| router.file("network"));
            assert!(now == old || now == new, "{step} {fault:?}");
            let next = site.run("apply");
            assert!(next.contains("Done") || now == new && next.contains("Nothing"), "{next}");
            assert_eq!(site.server.with(|router| router.file("network")), new);
        }
    }
}
