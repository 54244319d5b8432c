//! The accounts on disk: one small file that is replaced whole, so that a power cut leaves the old or the new one.

use std::io;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use octet_node::durable::{self, StoredFile};
use octet_node::{say, sub_key};
use octet_receipts::AccountBook;

/// The file, in the data folder.
const BOOK: &str = "book";

/// The maximum size of the file, in bytes: that of [`octet_receipts::MAX_ACCOUNTS`] accounts.
const LONGEST: u64 = 2 << 20;

/// The book, and where it is written.
#[derive(Debug)]
pub struct BookFile {
    book: AccountBook,
    path: PathBuf,
}

impl BookFile {
    /// Reads the book in `folder`. A damaged one is set aside, and a new one begins with a new key.
    ///
    /// # Errors
    /// Reading fails.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(BOOK);
        let book = match durable::load(&path, LONGEST, AccountBook::from_bytes)? {
            StoredFile::Value(book) => book,
            StoredFile::Absent => AccountBook::default(),
            StoredFile::Damaged => {
                let aside = folder.join("book.damaged");
                std::fs::rename(&path, &aside)?;
                // With another key neighbours know that this is another book.
                match std::fs::remove_file(folder.join(sub_key::KEY)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                say!("the book of accounts is damaged: it is set aside as {}", aside.display());
                AccountBook::default()
            }
        };
        Ok(Self { book, path })
    }

    /// Writes the book, if it has changed. Messages and limits that depend on the change count from then on.
    ///
    /// # Errors
    /// Writing fails; nothing that depends on the change is sent.
    pub fn write(&mut self) -> io::Result<()> {
        if self.book.is_dirty() {
            let bytes = self.book.to_bytes();
            if let Err(error) = durable::replace(&self.path, &bytes) {
                self.book.not_persisted();
                return Err(error);
            }
            self.book.persisted();
        }
        Ok(())
    }
}

impl Deref for BookFile {
    type Target = AccountBook;

    fn deref(&self) -> &AccountBook {
        &self.book
    }
}

impl DerefMut for BookFile {
    fn deref_mut(&mut self) -> &mut AccountBook {
        &mut self.book
    }
}
