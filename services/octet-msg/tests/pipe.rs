//! `octet-msg … | head`: a closed pipe is not an error.

use std::process::{Command, Stdio};

#[test]
fn a_reader_may_go() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = folder.path().join("passphrase");
    std::fs::write(&passphrase, "of a test\n").unwrap();
    // No mailbox listens at this address.
    let mailbox = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK@127.0.0.1:9";
    let octet_msg = |command: &str, out: Stdio| {
        let mut it = Command::new(env!("CARGO_BIN_EXE_octet-msg"));
        it.arg("--folder").arg(folder.path().join("me")).arg("--passphrase-file").arg(&passphrase);
        it.args(command.split(' ')).stdout(out).output().unwrap()
    };
    for command in [&format!("init --mailbox {mailbox}"), "people", "history"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = octet_msg(command, writer.into());
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && !said.contains("panicked"), "{command}: {said}");
    }
    let people = octet_msg("people", Stdio::piped());
    assert!(String::from_utf8_lossy(&people.stdout).starts_with("you: "));
}
