//! Checks the build output with independent tools.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use octet_tests::{AARCH64, Image, Owner, SigningKey, must, run, shipped, shipped_for, soak};
use serde_json::Value;

#[test]
fn cpio_lists_the_initrd() {
    let initrd = fs::File::open(shipped().file("boot/initrd")).unwrap();
    let args = ["--list", "--quiet"];
    let listed = must(Command::new("cpio").args(args).stdin(Stdio::from(initrd))).stdout;
    for file in ["init", "root.squashfs"] {
        assert!(listed.lines().any(|line| line == file), "{file} is not in:\n{listed}");
    }
}

/// The manifest's list of files in the root file system.
fn manifest(image: &Image) -> Vec<Value> {
    let text = fs::read(image.file("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&text).unwrap();
    let items = manifest["root"].as_array().unwrap();
    assert!(items.len() > 20, "{}", items.len());
    items.clone()
}

/// An entry as `unsquashfs -lln` prints it, without size and time: `-rwxr-xr-x 0/0 /bin/busybox`.
fn listed(item: &Value) -> String {
    let text = |name: &str| item[name].as_str().unwrap_or_default();
    let kind = match text("type") {
        "folder" => 'd',
        "link" => 'l',
        _ => '-',
    };
    let mode = u32::from_str_radix(text("mode"), 8).unwrap();
    let mut letters: Vec<char> = "rwxrwxrwx"
        .chars()
        .enumerate()
        .map(|(place, letter)| if mode & (0o400 >> place) == 0 { '-' } else { letter })
        .collect();
    for (bit, place, letter) in [(0o4000, 2, 's'), (0o2000, 5, 's'), (0o1000, 8, 't')] {
        if mode & bit != 0 {
            letters[place] = letter;
        }
    }
    let mode: String = letters.into_iter().collect();
    let to = item["target"].as_str().map(|target| format!(" -> {target}")).unwrap_or_default();
    format!("{kind}{mode} {}/{} {}{to}", item["uid"], item["gid"], text("path"))
}

#[test]
fn unsquashfs_finds_what_the_manifest_says() {
    let (image, folder) = (shipped(), tempfile::tempdir().unwrap());
    let root = image.squashfs(folder.path());
    let items = manifest(&image);
    let expected: BTreeSet<String> = items.iter().map(listed).collect();
    let found = must(Command::new("unsquashfs").args(["-lln", "-d", ""]).arg(&root)).stdout;
    let found: BTreeSet<String> = found
        .lines()
        .filter(|line| line.contains(" /"))
        .map(|line| {
            // mode, owner, size, date, time, path
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {} {}", words[0], words[1], words[5..].join(" "))
        })
        .collect();
    assert_eq!(found, expected);

    // The content, with another independent tool.
    let unpacked = image.root(folder.path());
    let sums: String = items
        .iter()
        .filter(|item| item["type"] == "file")
        .map(|item| {
            format!("{}  .{}\n", item["sha256"].as_str().unwrap(), item["path"].as_str().unwrap())
        })
        .collect();
    fs::write(folder.path().join("sums"), sums).unwrap();
    let check = ["--check", "--strict", "--quiet", "../sums"];
    must(Command::new("sha256sum").current_dir(&unpacked).args(check));
}

/// Programs are position-independent, so that ASLR protects them. For both targets with `--soak`.
#[test]
fn programs_of_ours_have_no_fixed_address() {
    let other = soak().then(|| shipped_for(AARCH64));
    for image in [shipped()].into_iter().chain(other) {
        let folder = tempfile::tempdir().unwrap();
        let unpacked = image.root(folder.path());
        let initrd = fs::File::open(image.file("boot/initrd")).unwrap();
        let args = ["--extract", "--quiet", "init"];
        must(Command::new("cpio").current_dir(folder.path()).args(args).stdin(Stdio::from(initrd)));
        let items = manifest(&image).into_iter().filter(|item| {
            item["type"] == "file" && item["origin"].as_str().unwrap().starts_with("crate ")
        });
        let path = |item: Value| unpacked.join(&item["path"].as_str().unwrap()[1..]);
        let programs: Vec<_> = items.map(path).chain([folder.path().join("init")]).collect();
        assert!(programs.len() >= 2, "{programs:?}");
        for program in programs {
            moves_itself(&program);
        }
    }
}

fn moves_itself(program: &Path) {
    let said = must(Command::new("readelf").args(["-hldW"]).arg(program)).stdout;
    let line = |of: &str| said.lines().find(|line| line.contains(of)).unwrap_or_default();
    for (of, words) in [
        ("Type:", "DYN (Position-Independent Executable file)"),
        ("(FLAGS_1)", "NOW PIE"),
        ("GNU_RELRO", "R "),
        ("GNU_STACK", "RW "),
    ] {
        assert!(line(of).contains(words), "{}: {of}\n{said}", program.display());
    }
    // It is statically linked, without relocations in its code.
    for word in ["INTERP", "NEEDED", "TEXTREL"] {
        assert!(!said.contains(word), "{}: {word}\n{said}", program.display());
    }
}

#[test]
fn unsquashfs_refuses_half_a_root() {
    let (image, folder) = (shipped(), tempfile::tempdir().unwrap());
    let root = image.squashfs(folder.path());
    must(Command::new("unsquashfs").arg("-ll").arg(&root));
    let bytes = fs::read(&root).unwrap();
    fs::write(&root, &bytes[..bytes.len() / 2]).unwrap();
    assert_ne!(run(Command::new("unsquashfs").arg("-ll").arg(&root)).status, Some(0));
}

#[test]
fn sha256sum_accepts_the_sums() {
    let image = shipped();
    let check = ["--check", "--strict", "--quiet", "SHA256SUMS"];
    must(Command::new("sha256sum").current_dir(&image.folder).args(check));

    let folder = tempfile::tempdir().unwrap();
    let sums = fs::read_to_string(image.file("SHA256SUMS")).unwrap();
    for file in sums.lines().filter_map(|line| line.split_once("  ")).map(|(_, file)| file) {
        let copy = folder.path().join(file);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(image.file(file), copy).unwrap();
    }
    fs::write(folder.path().join("SHA256SUMS"), &sums).unwrap();
    must(Command::new("sha256sum").current_dir(folder.path()).args(check));
    let changed = folder.path().join("boot/initrd");
    let mut bytes = fs::read(&changed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&changed, bytes).unwrap();
    let refused = run(Command::new("sha256sum").current_dir(folder.path()).args(check));
    assert_ne!(refused.status, Some(0));
}

/// The image contains no secret, and no login.
#[test]
fn no_secret_and_no_login_in_the_root() {
    let (image, folder) = (shipped(), tempfile::tempdir().unwrap());
    let unpacked = image.root(folder.path());
    // The search finds a planted key.
    let planted = folder.path().join("planted");
    let search = |place: &Path| {
        let words = "BEGIN [A-Z ]*PRIVATE KEY|untrusted comment: [a-z]+ encrypted secret key\
                     |octet-key-1 did:key:z[0-9A-Za-z]{40,} [0-9A-Za-z+/]{43}=";
        run(Command::new("grep").env("LC_ALL", "C").args(["-rlaE", words]).arg(place))
    };
    Owner::new().keep_key(&planted);
    assert!(fs::read_to_string(&planted).unwrap().starts_with("octet-key-1 "));
    assert_eq!(search(&planted).status, Some(0));
    // A signature, which tests of updates leave beside the image, contains the name of the key
    // type, too.
    let signing = SigningKey::new().write(folder.path());
    assert_eq!(search(&signing).status, Some(0));
    fs::write(&planted, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    assert_eq!(search(&planted).status, Some(0));
    for place in [&unpacked, &image.folder] {
        let found = search(place);
        assert_eq!(found.stdout, "");
        // Files of other processes in this folder may disappear meanwhile.
        let others =
            found.stderr.lines().filter(|line| !line.ends_with(": No such file or directory"));
        assert_eq!(others.collect::<Vec<_>>(), [""; 0]);
        assert_ne!(found.status, Some(0));
    }

    let passwd = fs::read_to_string(unpacked.join("etc/passwd")).unwrap();
    assert!(passwd.lines().count() > 10);
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        assert_eq!((fields[1], fields[6]), ("!", "/sbin/nologin"), "{line}");
    }
    let items = manifest(&image);
    let name = |item: &Value| item["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let names: BTreeSet<String> = items.iter().map(name).collect();
    assert!(names.contains("busybox") && names.contains("octetctl"));
    for way_in in ["getty", "agetty", "login", "sshd", "dropbear", "telnetd", "inittab", "shadow"] {
        assert!(!names.contains(way_in), "{way_in}");
    }
    let set_id = items
        .iter()
        .find(|item| u32::from_str_radix(item["mode"].as_str().unwrap(), 8).unwrap() & 0o6000 != 0);
    assert!(set_id.is_none(), "{set_id:?}");
}
