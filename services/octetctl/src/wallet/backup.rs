//! A copy of the owner's key under a passphrase: PKCS #8 as PEM (RFC 5958, RFC 7468), encrypted with AES-256 by a key
//! from scrypt (RFC 8018, RFC 7914). OpenSSL reads it, too.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use octet_node::durable::{self, ExistingFile};
use octet_node::key::{self, NoRandomness, PrivateKey};
use pkcs8::pkcs5::pbes2;
use pkcs8::pkcs5::scrypt;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};

/// scrypt takes 16 MiB, which OpenSSL allows, five times over.
const LOG_N: u8 = 14;
const BLOCK: u32 = 8;
const TIMES: u32 = 5;

/// The minimum length of a passphrase, in characters.
const SHORTEST: usize = 12;

/// The maximum size of the file, in bytes.
const LONGEST: u64 = 4096;

const LABEL: &str = "ENCRYPTED PRIVATE KEY";

#[derive(Debug, Args)]
pub struct BackupLine {
    /// The file of the copy
    pub file: PathBuf,
    /// A file with the passphrase in its first line; without one it is asked for
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("there is a file at {} already", .0.display())]
    Existing(PathBuf),
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Disk(PathBuf, io::Error),
    #[error("the passphrase cannot be asked for: {0}")]
    Terminal(io::Error),
    #[error("the two passphrases differ")]
    Differ,
    #[error("the passphrase has fewer than {SHORTEST} characters")]
    Short,
    #[error("{} is no copy of a key", .0.display())]
    NoCopy(PathBuf),
    #[error("the passphrase does not open {}", .0.display())]
    Passphrase(PathBuf),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("the key cannot be encrypted: {0}")]
    Encrypt(pkcs8::Error),
}

impl BackupError {
    pub fn help(&self) -> &'static str {
        match self {
            Self::Existing(_) => "name another file; a key that is replaced is lost",
            Self::Disk(..) => "see that the file and its folder can be read and written by you",
            Self::Terminal(_) => "write it into the first line of a file: --passphrase-file FILE",
            Self::Differ => "type the same one twice",
            Self::Short => "who has the file can try passphrases without end: take several words",
            Self::NoCopy(_) => "name a file that `octetctl wallet export` has written",
            Self::Passphrase(_) => "try again; without the passphrase nobody can open it",
            Self::Randomness(_) | Self::Encrypt(_) => "try again",
        }
    }
}

/// Writes a copy of `key`.
///
/// # Errors
/// There is a file already, writing fails, or the passphrase is no good.
pub fn export(line: &BackupLine, key: &PrivateKey) -> Result<String, BackupError> {
    if line.file.exists() {
        return Err(BackupError::Existing(line.file.clone()));
    }
    let passphrase = passphrase(line, Asked::Twice)?;
    if passphrase.chars().count() < SHORTEST {
        return Err(BackupError::Short);
    }
    let pem = encrypt(key, &passphrase)?;
    write(&line.file, |path| durable::write(path, pem.as_bytes(), ExistingFile::Keep, |_| Ok(())))?;
    Ok(format!("{}\nis in {}\n", key.public(), line.file.display()))
}

/// Stores the key of a copy at `path`.
///
/// # Errors
/// There is a key already, or the passphrase does not open the copy.
pub fn import(line: &BackupLine, path: &Path) -> Result<String, BackupError> {
    let disk = |error| BackupError::Disk(line.file.clone(), error);
    let bytes = durable::read(&line.file, LONGEST).map_err(disk)?;
    let no_copy = || BackupError::NoCopy(line.file.clone());
    let pem = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(no_copy)?;
    let (label, document) = SecretDocument::from_pem(&pem).map_err(|_| no_copy())?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes());
    let encrypted = encrypted.ok().filter(|_| label == LABEL).ok_or_else(no_copy)?;
    let passphrase = passphrase(line, Asked::Once)?;
    let wrong = || BackupError::Passphrase(line.file.clone());
    let plain = encrypted.decrypt(passphrase).map_err(|_| wrong())?;
    let key = decode(&plain).ok_or_else(no_copy)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        write(folder, |folder| std::fs::create_dir_all(folder))?;
    }
    write(path, |path| key::write(path, &key, ExistingFile::Keep, |_| Ok(())))?;
    Ok(format!("{}\nis in {}\n", key.public(), path.display()))
}

fn write(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), BackupError> {
    write(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Existing(path.to_owned()),
        _ => BackupError::Disk(path.to_owned(), error),
    })
}

fn encrypt(key: &PrivateKey, passphrase: &str) -> Result<String, BackupError> {
    let plain = key.to_pkcs8();
    let info = PrivateKeyInfoRef::try_from(plain.as_slice()).map_err(BackupError::Encrypt)?;
    let (salt, iv) = (key::random::<16>()?, key::random::<16>()?);
    let cost = scrypt::Params::new(LOG_N, BLOCK, TIMES);
    let cost = cost.map_err(|_| BackupError::Encrypt(pkcs8::Error::ParametersMalformed))?;
    let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv)
        .map_err(|error| BackupError::Encrypt(error.into()))?;
    let encrypted =
        info.encrypt_with_params(parameters, passphrase).map_err(BackupError::Encrypt)?;
    let pem = encrypted.to_pem(LABEL, LineEnding::LF);
    pem.map(|pem| pem.to_string()).map_err(|error| BackupError::Encrypt(error.into()))
}

fn decode(plain: &SecretDocument) -> Option<PrivateKey> {
    // The form of `to_pkcs8` ends with the seed.
    let seed = plain.as_bytes().last_chunk::<32>()?;
    let key = PrivateKey::from_seed(*seed)?;
    (key.to_pkcs8() == plain.as_bytes()).then_some(key)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Once,
    Twice,
}

fn passphrase(line: &BackupLine, asked: Asked) -> Result<String, BackupError> {
    if let Some(file) = &line.passphrase_file {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| BackupError::Disk(file.clone(), error))?;
        return Ok(text.lines().next().unwrap_or_default().to_owned());
    }
    let ask = |prompt| rpassword::prompt_password(prompt).map_err(BackupError::Terminal);
    let first = ask("Passphrase: ")?;
    if asked == Asked::Twice && ask("The same again: ")? != first {
        return Err(BackupError::Differ);
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use octet_node::durable::StoredFile;
    use tempfile::TempDir;

    use super::*;

    const WORDS: &str = "nine mills on the hill";

    fn line(folder: &TempDir, words: &str) -> BackupLine {
        let passphrase_file = folder.path().join("words");
        fs::write(&passphrase_file, format!("{words}\nmore\n")).unwrap();
        let file = folder.path().join("copy.pem");
        BackupLine { file, passphrase_file: Some(passphrase_file) }
    }

    #[test]
    fn a_copy_comes_back_with_its_passphrase_only() {
        let folder = TempDir::new().unwrap();
        let key = PrivateKey::from_seed([7; 32]).unwrap();
        let right = line(&folder, WORDS);
        export(&right, &key).unwrap();
        assert_eq!(fs::metadata(&right.file).unwrap().permissions().mode() & 0o777, 0o600);
        let again = export(&right, &key);
        assert!(matches!(again, Err(BackupError::Existing(_))), "{again:?}");

        let path = folder.path().join("new/key");
        let refused = import(&line(&folder, "nine mills on the hall"), &path);
        assert!(matches!(refused, Err(BackupError::Passphrase(_))), "{refused:?}");
        assert!(!path.exists());
        let printed = import(&line(&folder, WORDS), &path).unwrap();
        assert!(printed.contains(&key.public().to_string()), "{printed}");
        let StoredFile::Value(back) = key::read(&path).unwrap() else { panic!("it is there") };
        assert_eq!(back.public(), key.public());
        let twice = import(&line(&folder, WORDS), &path);
        assert!(matches!(twice, Err(BackupError::Existing(_))), "{twice:?}");
    }

    #[test]
    fn what_is_no_copy_is_refused() {
        let folder = TempDir::new().unwrap();
        let (line, path) = (line(&folder, WORDS), folder.path().join("key"));
        let own = PrivateKey::from_seed([7; 32]).unwrap();
        export(&line, &own).unwrap();
        let whole = fs::read_to_string(&line.file).unwrap();
        for bad in ["", "octet-key-1", &whole[..whole.len() / 2], &whole.replace("ENCRYPTED ", "")]
        {
            fs::write(&line.file, bad).unwrap();
            let refused = import(&line, &path);
            assert!(matches!(refused, Err(BackupError::NoCopy(_))), "{bad}: {refused:?}");
        }
        assert!(export(&self::line(&folder, "eleven char"), &own).is_err());
        fs::remove_file(&line.file).unwrap();
        let short = export(&self::line(&folder, "eleven char"), &own);
        assert!(matches!(short, Err(BackupError::Short)), "{short:?}");
    }

    /// OpenSSL, which shares no code with this, opens the copy.
    #[test]
    fn openssl_opens_it() {
        let folder = TempDir::new().unwrap();
        let (line, key) = (line(&folder, WORDS), PrivateKey::from_seed([7; 32]).unwrap());
        export(&line, &key).unwrap();
        let opened = Command::new("openssl")
            .args(["pkey", "-outform", "DER", "-passin"])
            .arg(format!("pass:{WORDS}"))
            .arg("-in")
            .arg(&line.file)
            .output()
            .unwrap();
        assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
        assert_eq!(opened.stdout, key.to_pkcs8());
    }
}
