//! An update that fails, one that succeeds, refused ones, and a rollback.

use std::path::Path;
use std::process::Command;

use octet_bundle::{SlotFile, SlotState};
use octet_control::file::LocalFile;
use octet_machine::{Machine, MachineError};
use octet_tests::{
    Bytes, DiskFile, Image, Release, SigningKey, builder, must, shipped, soak, workspace,
};
use serde_json::{Value, json};

use crate::update::bad::{NOT_GOOD, fails_its_check};
use crate::update::base::{boot, flashed, key, power_off, release, second_key, wait_good};

fn install(machine: &Machine, mut bundle: Bytes) -> Result<Value, MachineError> {
    machine.send_file("update", "install", "file", &mut bundle)
}

fn refused(machine: &Machine, bundle: Bytes, words: &str) {
    let error = install(machine, bundle).unwrap_err().to_string();
    assert!(error.contains(words), "{words}: {error}");
    println!("refused: {}", error.lines().next().unwrap_or_default());
}

/// Everything on the EFI system partition that belongs to slots, as listed by independent tools.
fn slots_on(disk: &DiskFile) -> Vec<String> {
    let mut all = disk.entries();
    let is_slot = |name: &String| !name.ends_with(".pub");
    for slot in disk.esp_names("octet").into_iter().filter(is_slot) {
        all.extend(
            disk.esp_names(&format!("octet/{slot}")).iter().map(|it| format!("{slot}/{it}")),
        );
    }
    all
}

/// The bundle of `image` by `cargo image sign` and `cargo image bundle`, for boxes that have
/// `from`.
fn bundled(image: &Image, key: &Path, from: &Release) -> Bytes {
    let folder = tempfile::tempdir().unwrap();
    let [file, before] = ["update", "before"].map(|name| folder.path().join(name));
    std::fs::write(&before, from.signed(&SigningKey::new()).0).unwrap();
    let run = |verb: &str, options: &[(&str, &Path)]| {
        let mut command = Command::new(builder());
        command.current_dir(workspace()).arg(verb).arg("--out").arg(image.folder.parent().unwrap());
        must(options.iter().fold(&mut command, |it, (option, path)| it.arg(option).arg(path)));
    };
    run("sign", &[("--key", key), ("--from", &before)]);
    run("bundle", &[("--to", &file)]);
    Bytes(std::fs::read(&file).unwrap())
}

/// `release` without a valid signature.
fn unsigned(release: &Release) -> Bytes {
    let mut bundle = release.signed(key()).0;
    let length = u32::from_be_bytes(bundle[8..12].try_into().unwrap()) as usize;
    bundle[8..12].fill(0);
    bundle.drain(16..16 + length);
    Bytes(bundle)
}

/// From now on the box trusts `key` only.
fn trust_only(machine: &Machine, key: &SigningKey) {
    let shipped = std::fs::read_to_string(workspace().join("appliance.toml")).unwrap();
    let text = format!("{shipped}\n[trust]\nupdate_keys = [{:?}]\n", key.public());
    let mut file = LocalFile::Memory(text.into_bytes());
    machine.send_file_with("config", "apply", json!({}), "file", &mut file).unwrap();
    machine.call_unit("config", "confirm", json!({})).unwrap();
}

#[test]
fn one_that_is_good_those_that_are_refused_and_the_way_back() {
    let [first, second, next] = [1, 3, 4].map(|n| release(&format!("number {n}"), n));
    let disk = flashed(&first);
    // This slot has one try left.
    let bad = fails_its_check(2);
    bad.put_beside(&disk, SlotState::Trying { left: 1, done: 2 }, first.slot());
    let folder = tempfile::tempdir().unwrap();
    let signing = key().write(folder.path());
    let machine = boot(&disk);
    // The previous one boots again automatically.
    assert_eq!(wait_good(&machine), first.slot().as_str());
    let restarts = machine.console().text().matches(NOT_GOOD).count();
    assert_eq!(restarts, 1, "{}", machine.tail(60));

    // It is signed with the second trusted key; the first one signs the last release.
    let done = install(&machine, second.signed(second_key())).unwrap();
    println!("{done}");
    let count = |name: &str| done[name].as_u64().unwrap();
    assert_eq!(count("size"), second.size());
    // The kernel is not written again, and only changed chunks of the initramfs are sent.
    assert_eq!(count("shared"), second.content(SlotFile::Linux).len() as u64);
    assert!(count("received") * 20 < count("size"), "{done}");
    let status = machine.call_unit("update", "status", Value::Null).unwrap();
    assert_eq!(status["next"], json!(second.slot()), "{status}");
    assert_eq!(status["running"], json!(first.slot()), "{status}");
    // The box provides the list of its components and licences.
    let parts = machine.call_unit("update", "licenses", Value::Null).unwrap();
    assert!(parts.as_array().unwrap().iter().any(|it| it["name"] == "busybox"), "{parts}");
    let part = machine.call_unit("update", "licenses", json!({ "name": "busybox" })).unwrap();
    let text = part["text"].as_str().unwrap();
    assert!(text.contains("GNU GENERAL PUBLIC LICENSE") && text.contains("aports"), "{text}");

    // The same update with one difference.
    let with = |change: fn(&mut Release)| {
        let mut release = next.clone();
        change(&mut release);
        release.signed(key())
    };
    refused(&machine, next.signed(&SigningKey::new()), "not signed by a key that this box trusts");
    trust_only(&machine, key());
    refused(&machine, next.signed(second_key()), "not signed by a key that this box trusts");
    refused(&machine, unsigned(&next), "no signature");
    refused(&machine, with(|it| it.manifest.sequence = 1), "runs 1 already");
    refused(
        &machine,
        with(|it| it.manifest.target = "qemu-aarch64".parse().unwrap()),
        "qemu-aarch64",
    );
    let mut cut = next.signed(key());
    cut.0.truncate(cut.0.len() - 1);
    refused(&machine, cut, "cut off");
    // One bit of a chunk that the box lacks, and therefore requests.
    let known = [&first, &second].map(|it| &it.manifest.files.initrd.chunks);
    let mut places = next.manifest.files.initrd.positions();
    let lacks = places.find(|it| !known.iter().any(|all| all.contains(&it.chunk))).unwrap().at;
    let mut flipped = next.signed(key());
    let at =
        flipped.0.len() - next.content(SlotFile::Initrd).len() + usize::try_from(lacks).unwrap();
    flipped.0[at] ^= 1;
    refused(&machine, flipped, "not what was signed");
    refused(&machine, Bytes(vec![]), "cut off");

    // It is replaced by the released image, as an update made by `cargo image`.
    let done = install(&machine, bundled(&shipped(), &signing, &first)).unwrap();
    println!("{done}");
    // Its root was packed again, so all data has moved; a patch copies it to the new positions.
    assert!(done["patched"].as_u64().unwrap() > 0, "{done}");
    assert!(done["received"].as_u64().unwrap() * 20 < done["size"].as_u64().unwrap(), "{done}");
    machine.call("reboot", Value::Null).unwrap();
    assert_eq!(wait_good(&machine), shipped().slot());

    let back = machine.call_unit("update", "rollback", Value::Null).unwrap();
    assert_eq!(back["slot"], json!(first.slot()));
    // The boot of a good slot instead of one without tries is covered above.
    if soak() {
        machine.call("reboot", Value::Null).unwrap();
        assert_eq!(wait_good(&machine), first.slot().as_str());
    }
    let shown = machine.call_unit("identity", "show", json!({})).unwrap();
    power_off(&machine);
    drop(machine);
    // The key file on the flash identifies the box to its holder.
    let written = disk.esp_get("octet/node.pub").unwrap();
    assert_eq!(String::from_utf8(written).unwrap().trim_end(), shown["node"]);
    let mut wanted =
        [format!("octet-{}.conf", first.slot()), format!("octet-{}+0.conf", shipped().slot())];
    wanted.sort();
    let mut entries = disk.entries();
    entries.sort();
    assert_eq!(entries, wanted, "{:?}", slots_on(&disk));
    let said = disk.fsck_esp();
    assert_eq!(said.status, Some(0), "{}{}", said.stdout, said.stderr);
}
