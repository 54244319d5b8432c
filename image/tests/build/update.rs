//! An image as an update: keys, what is signed, and the file that boxes take.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use minisign_verify::{PublicKey, Signature};
use octet_bundle::{BundleHead, Digest, Manifest, SlotFile};

use crate::sandbox::{Said, Sandbox};

fn run(sandbox: &Sandbox, verb: &str, args: &[&str]) -> Said {
    sandbox.command(verb).args(args).output().unwrap().into()
}

/// Whoever runs it in a script is told what is missing, and what to do.
#[test]
fn without_a_terminal_no_password_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("my.key");
    // A session of its own has no terminal (setsid(2)).
    let mut command = Command::new("setsid");
    command.args(["-w", env!("CARGO_BIN_EXE_octet-image"), "sign", "--new-key"]).arg(&key);
    let said: Said = command.output().unwrap().into();
    said.refused(&["asked for at a terminal, and there is none", "--no-password"]);
    assert!(!key.exists());
}

#[test]
fn signed_and_bundled() {
    let sandbox = Sandbox::new();
    let key = sandbox.path("my.key").to_string_lossy().into_owned();
    let folder = "out/qemu-x86_64";
    let sign =
        |more: &[&str]| run(&sandbox, "sign", &[&["--offline", "--key", &key], more].concat());
    sign(&[]).refused(&["cannot read", "my.key", "--new-key FILE"]);
    let made = run(&sandbox, "sign", &["--new-key", &key, "--no-password"]);
    made.succeeded();
    let public = sandbox.read("my.key.pub");
    let public = public.lines().nth(1).unwrap();
    assert!(made.out.contains(&format!("update_keys = [\"{public}\"]")), "{}", made.out);
    let mode = fs::metadata(sandbox.path("my.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = run(&sandbox, "sign", &["--new-key", &key, "--no-password"]);
    again.refused(&["my.key is there already", "not overwritten"]);

    let bundle = || run(&sandbox, "bundle", &["--offline"]);
    bundle().refused(&["update.json", "sign the image first"]);
    sign(&["--sequence", "7"]).refused(&["sequence 7 is not above"]);
    sign(&["--sequence", "4000000000", "--floor", "4000000001"]).refused(&["floor"]);
    sign(&["--sequence", "4000000000", "--floor", "5"]).succeeded();
    bundle().succeeded();
    let bytes = fs::read(sandbox.path(&format!("{folder}/octet.update"))).unwrap();
    let head = BundleHead::parse(&bytes).unwrap();
    let signature = Signature::decode(std::str::from_utf8(&head.signature).unwrap()).unwrap();
    PublicKey::from_base64(public).unwrap().verify(&head.manifest, &signature, false).unwrap();
    assert!(signature.trusted_comment().contains("sequence 4000000000"));
    let manifest = Manifest::parse(&head.manifest).unwrap();
    assert_eq!((manifest.sequence, manifest.floor), (4_000_000_000, 5));
    assert_eq!(head.size(&manifest), bytes.len() as u64);
    // What the image boots on x86-64 is what is signed, and compressed it is less.
    let boot =
        |name: &str| Digest::of(&fs::read(sandbox.path(&format!("{folder}/boot/{name}"))).unwrap());
    let files = &manifest.files;
    assert_eq!((files.linux.sha256, files.initrd.sha256), (boot("linux"), boot("initrd")));
    assert!(files.initrd.stored() < files.initrd.size);

    // What was signed before is not put into a bundle of something else.
    sandbox.replace("appliance.toml", "\"small\"", "\"smallest\"");
    bundle().refused(&["is of slot", "sign what was built"]);
}

/// `update::good` has a box that takes such a patch.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn the_next_update_is_a_patch_of_this_one() {
    let sandbox = Sandbox::new();
    let key = sandbox.path("my.key").to_string_lossy().into_owned();
    let sign =
        |more: &[&str]| run(&sandbox, "sign", &[&["--offline", "--key", &key], more].concat());
    let bundle = || {
        run(&sandbox, "bundle", &["--offline"]).succeeded();
        fs::read(sandbox.path("out/qemu-x86_64/octet.update")).unwrap()
    };
    run(&sandbox, "sign", &["--new-key", &key, "--no-password"]).succeeded();
    sign(&[]).succeeded();
    let bytes = bundle();
    let manifest = Manifest::parse(&BundleHead::parse(&bytes).unwrap().manifest).unwrap();
    let before = sandbox.path("before.update");
    fs::write(&before, &bytes).unwrap();
    sandbox.replace("appliance.toml", "\"small\"", "\"smaller\"");
    sign(&["--from", &before.to_string_lossy()]).succeeded();
    let next = Manifest::parse(&BundleHead::parse(&bundle()).unwrap().manifest).unwrap();
    let [patch] = next.patches[..] else { panic!("{:?}", next.patches) };
    assert_eq!((patch.makes, patch.from), (SlotFile::Initrd, manifest.files.initrd.sha256));
    assert!(u64::from(patch.stored) * 20 < next.files.initrd.stored(), "{patch:?}");
    sign(&["--from", &key]).refused(&["my.key", "not an update"]);
}
