//! Keys, as minisign keeps them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, SecretKey, SecretKeyBox};

use super::error::UpdateError;
use crate::output::file::WriteError;

/// What a person reads in the file of a key.
const COMMENT: &str =
    "signs updates of an Octet appliance; whoever has it can replace its software";

/// Makes a key: the secret part in `path`, for its owner alone, the public one beside it. Without a
/// `password` in between whoever reads the file can sign. Returns the file of the public key, and
/// the key as `[trust] update_keys` takes it.
///
/// # Errors
/// There is one already, or the files cannot be written.
pub fn make_key(path: &Path, password: bool) -> miette::Result<(PathBuf, String)> {
    let public = public_path(path);
    for file in [path, &public] {
        if file.exists() {
            return Err(UpdateError::KeyExists(file.to_owned()).into());
        }
    }
    let key = |why| UpdateError::Key {
        path: path.to_owned(),
        why,
        help: "give the same password two times; --no-password makes a key without one",
    };
    if password {
        check_terminal(
            path,
            "run this in a terminal; or --no-password makes a key without a password",
        )?;
    }
    let pair = match password {
        true => KeyPair::generate_encrypted_keypair(None),
        false => KeyPair::generate_unencrypted_keypair(),
    };
    let KeyPair { pk, sk } = pair.map_err(key)?;
    let secret = sk.to_box(Some(COMMENT)).map_err(key)?.into_string();
    create(path, 0o600, &secret).map_err(WriteError::at(path))?;
    let text = pk.to_box().map_err(key)?.into_string();
    create(&public, 0o644, &text).map_err(WriteError::at(&public))?;
    Ok((public, pk.to_base64()))
}

/// The secret key in `path`; asks for its password, if it has one.
///
/// # Errors
/// It cannot be read, or is none.
pub fn secret_key(path: &Path) -> Result<SecretKey, UpdateError> {
    let text = fs::read_to_string(path).map_err(|why| UpdateError::Read {
        path: path.to_owned(),
        why,
        help: "name the file of the secret key; `cargo image sign --new-key FILE` makes one",
    })?;
    let key = |why| UpdateError::Key {
        path: path.to_owned(),
        why,
        help: "name the file of a secret key of minisign, and give its password",
    };
    let parsed = || SecretKeyBox::from_string(&text).map_err(key);
    match SecretKey::from_unencrypted_box(parsed()?) {
        Ok(secret) => Ok(secret),
        Err(_) => {
            check_terminal(
                path,
                "run this in a terminal; a key without a password is asked for none",
            )?;
            SecretKey::from_box(parsed()?, None).map_err(key)
        }
    }
}

/// Sees that a password can be asked for: at the terminal itself, whatever standard input is.
fn check_terminal(path: &Path, help: &'static str) -> Result<(), UpdateError> {
    let found = File::options().read(true).write(true).open("/dev/tty").map(drop);
    found.map_err(|_| UpdateError::NoTerminal { path: path.to_owned(), help })
}

fn public_path(path: &Path) -> PathBuf {
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    public.into()
}

/// Writes a file that was not there, onto the medium.
fn create(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
