//! Asking the person whose disk it is.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};

use octet_control::one_line;

use super::block::SysfsBlock;
use super::error::FlashError;
use super::target::FlashTarget;

/// What becomes of a disk of which nothing is kept.
pub const ALL_LOST: &str = "All that is on it will be lost.";

/// Asks on the terminal whether `fate` may become of `target`. What the person has to type is the
/// target's name, not a letter that is typed without reading.
///
/// # Errors
/// It was not typed, or there is no terminal.
pub fn confirm(target: &FlashTarget, fate: &str) -> Result<(), FlashError> {
    let path = target.path().to_owned();
    if !io::stdin().is_terminal() {
        return Err(FlashError::NotConfirmed { path });
    }
    let name = match target.disk() {
        Some(disk) => disk.name.clone(),
        None => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let mut shown = match target.disk() {
        Some(disk) => describe(disk),
        None => format!("{}: a file\n", path.display()),
    };
    shown += &match target.is_octet().then(|| target.node()) {
        Some(Some(node)) => format!("It has the keys and the data of the box {node}.\n"),
        Some(None) => "It has the keys and the data of a box of Octet.\n".to_owned(),
        None => "It is no disk of Octet.\n".to_owned(),
    };
    let question = format!("{shown}{fate}\nTo go on, type {name}: ");
    let typed = read(&question, io::stdin().lock(), io::stderr().lock());
    let failed = |why| FlashError::Open { path: path.clone(), why };
    let typed = typed.map_err(failed)?;
    // Also as the shell completes it.
    match typed == name || typed == path.to_string_lossy() {
        true => Ok(()),
        false => Err(FlashError::Declined { path }),
    }
}

fn read(question: &str, mut from: impl BufRead, mut to: impl Write) -> io::Result<String> {
    write!(to, "{question}")?;
    to.flush()?;
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// What a person knows a disk by: who made it, how large it is, what is on it. The medium says some of it itself, and must not
/// have another disk's name shown.
fn describe(disk: &SysfsBlock) -> String {
    let mut text = format!("{}: {}", disk.path().display(), size(disk.size()));
    let words = [disk.vendor(), disk.model()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    if !words.is_empty() {
        let _ = write!(text, ", {}", one_line(&words));
    }
    if let Some(serial) = disk.serial() {
        let _ = write!(text, ", serial {}", one_line(&serial));
    }
    if let Some(file) = disk.backing_file() {
        let _ = write!(text, ", the file {}", one_line(&file.display().to_string()));
    }
    text.push('\n');
    for part in disk.partitions() {
        let label = part.label().unwrap_or_default();
        let label = one_line(&label);
        let line = format!("  {}  {}  {label}", part.name, size(part.size()));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// As a medium's size is printed on it, in units of 1000.
fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes < 1e9 { format!("{:.1} MB", bytes / 1e6) } else { format!("{:.1} GB", bytes / 1e9) }
}

#[cfg(test)]
mod tests {
    use super::super::block::made_up::BlockMachine;
    use super::*;
    use std::fs;

    #[test]
    fn shows_what_a_person_knows_it_by() {
        let machine = BlockMachine::new();
        let folder = machine.add("sdb", "8:16");
        let part = machine.add("sdb/sdb1", "8:17");
        let usb = machine.folder.path().join("sys/devices/made-up");
        fs::create_dir_all(folder.join("device")).unwrap();
        for (path, text) in [
            (folder.join("size"), "62521344"),
            (folder.join("device/vendor"), "SanDisk "),
            (folder.join("device/model"), "Ultra Fit       "),
            (usb.join("serial"), "4C530001\n"),
            (part.join("uevent"), "PARTNAME=holiday photos\n"),
        ] {
            fs::write(path, text).unwrap();
        }
        let disk = machine.host().block(BlockMachine::number("8:16")).unwrap();
        assert_eq!(
            describe(&disk),
            "/dev/sdb: 32.0 GB, SanDisk Ultra Fit, serial 4C530001\n  \
             sdb1  1.0 MB  holiday photos\n"
        );
        machine.add("vda", "254:0");
        let disk = machine.host().block(BlockMachine::number("254:0")).unwrap();
        // A made-up serial number above both is that of the bus, not of a disk without a device.
        assert_eq!(describe(&disk), "/dev/vda: 1.0 MB\n");
    }

    #[test]
    fn a_medium_shows_nothing_but_its_own_line() {
        let machine = BlockMachine::new();
        let folder = machine.add("sdb", "8:16");
        fs::create_dir_all(folder.join("device")).unwrap();
        fs::write(folder.join("device/model"), "X\u{1b}[1A/dev/sdc\u{202e}\n").unwrap();
        let disk = machine.host().block(BlockMachine::number("8:16")).unwrap();
        assert_eq!(describe(&disk), "/dev/sdb: 1.0 MB, X\\u{1b}[1A/dev/sdc\\u{202e}\n");
    }

    #[test]
    fn reads_one_line() {
        let mut shown = vec![];
        let typed = read("Which? ", &b" sdb \nsdc\n"[..], &mut shown).unwrap();
        assert_eq!((typed.as_str(), shown.as_slice()), ("sdb", &b"Which? "[..]));
        assert_eq!(read("", &b""[..], &mut shown).unwrap(), "");
    }
}
