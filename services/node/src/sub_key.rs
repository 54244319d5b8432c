//! A service's own key. `identity` certifies it, and never has the private half.

mod keeper;

#[cfg(feature = "watch")]
pub use keeper::certified;
pub use keeper::{KeyUpdate, keep};

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::say;
use octet_control::{CallError, Client, PublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::certificate::Certificate;
use crate::durable::{self, ExistingFile, StoredFile};
use crate::key::{self, PrivateKey};

/// The file of the key, in the service's data folder.
pub const KEY: &str = "key";

/// The file of its certificate, for when `identity` is unavailable.
pub const CERTIFICATE: &str = "certificate";

/// The verb of `identity` that returns a certificate, and again when it is revoked.
pub const CERTIFY: &str = "certify";

/// The verb of `identity` that returns the certificates of all services' current keys, and again at each
/// change.
pub const CERTIFICATES: &str = "certificates";

/// The maximum size of a certificate, in bytes.
const LONGEST: u64 = 1024;

/// The answer of `certify` when the key is no longer certified: the service must make a new one.
#[derive(Debug, Deserialize)]
struct Renew {
    renew: bool,
}

/// A key with its certificate.
#[derive(Debug, Clone)]
pub struct Certified {
    pub key: Arc<PrivateKey>,
    pub certificate: Certificate,
}

/// Why a key is not certified.
#[derive(Debug, thiserror::Error)]
pub enum SubKeyError {
    /// Reading or writing the disk failed.
    #[error("the service's key cannot be kept: {0}")]
    Disk(#[from] io::Error),
    /// `identity` does not answer, or refuses.
    #[error("identity: {0}")]
    Call(#[from] CallError),
    /// The answer is for another key.
    #[error("identity has certified another key than {0}")]
    Other(PublicKey),
}

#[derive(Debug)]
pub struct SubKey {
    folder: Option<PathBuf>,
    socket: PathBuf,
    key: Arc<PrivateKey>,
}

impl SubKey {
    /// Loads the key in `folder`, or makes a new one if it is missing or damaged; without a folder the key is
    /// in memory only. `socket` is that of `identity`.
    ///
    /// # Errors
    /// There is no key, and none can be made.
    pub fn open(folder: Option<PathBuf>, socket: PathBuf) -> io::Result<Self> {
        let kept =
            folder.as_deref().map_or(Ok(StoredFile::Absent), |folder| key::read(&folder.join(KEY)));
        let key = match kept? {
            StoredFile::Value(key) => key,
            StoredFile::Damaged => {
                say!("the file of this service's key is damaged: it gets a new key");
                make(folder.as_deref())?
            }
            StoredFile::Absent => make(folder.as_deref())?,
        };
        Ok(Self { folder, socket, key: Arc::new(key) })
    }

    /// The stored certificate, if it is for this key.
    pub fn cached(&self) -> Option<Certified> {
        let path = self.folder.as_ref()?.join(CERTIFICATE);
        let text = String::from_utf8(durable::read(&path, LONGEST).ok()??).ok()?;
        let certificate = Certificate::try_from(text).ok()?;
        let key = Arc::clone(&self.key);
        (certificate.body().key == key.public()).then_some(Certified { key, certificate })
    }

    /// Has the key certified and passes it to `certified`; and again with a new key, whenever `identity`
    /// requests one. It returns only on an error; the caller should retry after a pause.
    ///
    /// # Errors
    /// `identity` does not answer, or a new key cannot be stored.
    pub fn follow(
        &mut self,
        mut certified: impl FnMut(Certified),
    ) -> Result<std::convert::Infallible, SubKeyError> {
        loop {
            let mut client = Client::connect(&self.socket)?;
            let public = self.key.public();
            let args = Map::from_iter([("key".to_owned(), Value::from(String::from(public)))]);
            let mut problem = None;
            let end = client.call_each(CERTIFY, args, |item| {
                problem = self.take(item).map(&mut certified).err();
                problem.is_none()
            })?;
            if let Some(problem) = problem {
                return Err(problem);
            }
            let renew: Renew = serde_json::from_value(end).map_err(CallError::from)?;
            if !renew.renew {
                return Err(CallError::Closed.into());
            }
            self.key = Arc::new(make(self.folder.as_deref())?);
        }
    }

    fn take(&self, item: &Value) -> Result<Certified, SubKeyError> {
        let certificate = Certificate::deserialize(item).map_err(CallError::from)?;
        let key = Arc::clone(&self.key);
        if certificate.body().key != key.public() {
            return Err(SubKeyError::Other(key.public()));
        }
        if let Some(folder) = &self.folder {
            let text = String::from(certificate.clone());
            let path = folder.join(CERTIFICATE);
            durable::replace(&path, text.as_bytes())?;
        }
        Ok(Certified { key, certificate })
    }
}

fn make(folder: Option<&Path>) -> io::Result<PrivateKey> {
    match folder {
        Some(folder) => key::create(&folder.join(KEY), ExistingFile::Replace, |_| Ok(())),
        None => PrivateKey::generate().map_err(io::Error::other),
    }
}
