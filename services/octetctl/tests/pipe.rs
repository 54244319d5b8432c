//! `octetctl … | head`: a closed pipe is not an error.

use std::process::{Command, Stdio};

#[test]
fn a_reader_may_go() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let octetctl = |words: &[&str], out: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_octetctl"));
        command.args(words).arg("--key").arg(&key).stdout(out).output().unwrap()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let made = octetctl(&["keygen"], writer.into());
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success() && !said.contains("panicked"), "{}: {said}", made.status);
    assert!(key.exists());
}
