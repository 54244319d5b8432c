//! The stored responses on the disk: of each key the variants, the newest first. Those of the last requests are in
//! memory, too.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::http::{HeaderName, HeaderValue};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use redb::{Error, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::stored::StoredResponse;
use crate::database::Closable;

/// Of each key: its number in the order, and the variants (postcard).
const ROWS: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("responses");

/// The keys in the order in which they were written.
const ORDER: TableDefinition<u64, &str> = TableDefinition::new("order");

/// The maximum number of variants of one key (`Vary`).
const MAX_VARIANTS: usize = 8;

/// The page cache of the database, in bytes.
const PAGES: usize = 1 << 20;

/// The most that rows in memory take, in bytes.
const MEMORY: u64 = 4 << 20;

/// About how many keys that are.
const KEYS_IN_MEMORY: usize = 2048;

/// About what a key takes in memory besides its fields, and what each field takes, in bytes.
const ENTRY: usize = 512;
const FIELD: usize = 128;

/// The variants of a key.
type ResponseVariants = Arc<Vec<StoredResponse>>;

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<String, ResponseVariants> for Weight {
    fn weight(&self, key: &String, variants: &ResponseVariants) -> u64 {
        let heads = variants.iter().map(|it| {
            let fields = it.head.fields();
            let bytes = |(name, value): (&HeaderName, &HeaderValue)| {
                FIELD + 3 * (name.as_str().len() + value.len())
            };
            ENTRY + fields.iter().map(bytes).sum::<usize>()
        });
        (ENTRY + key.len() + heads.sum::<usize>()) as u64
    }
}

#[derive(Debug)]
pub struct OriginRows {
    database: Closable,
    most: u64,
    recent: Cache<String, ResponseVariants, Weight>,
    /// The number of changes: what was read before one is not taken into memory after it.
    changes: Mutex<u64>,
}

impl OriginRows {
    /// Opens or creates `file`, for at most `most` keys.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(file: &Path, most: u64) -> Result<Self, Error> {
        let database = Closable::open(file, PAGES)?;
        let writing = database.begin_write()?;
        writing.open_table(ROWS)?;
        writing.open_table(ORDER)?;
        writing.commit()?;
        let recent = Cache::with_weighter(KEYS_IN_MEMORY, MEMORY, Weight);
        Ok(Self { database, most, recent, changes: Mutex::default() })
    }

    pub fn close(&self) {
        self.database.close();
    }

    /// The variants of a key, if they are in memory.
    pub fn at_hand(&self, key: &str) -> Option<ResponseVariants> {
        self.recent.get(key)
    }

    pub fn get(&self, key: &str) -> Result<ResponseVariants, Error> {
        if let Some(variants) = self.at_hand(key) {
            return Ok(variants);
        }
        let before = *self.changes();
        let table = self.database.begin_read()?.open_table(ROWS)?;
        let row = table.get(key)?;
        // A row that cannot be read is a miss, and is written anew.
        let variants: ResponseVariants =
            row.and_then(|row| postcard::from_bytes(row.value().1).ok()).unwrap_or_default();
        let changes = self.changes();
        if *changes == before && !variants.is_empty() {
            self.recent.insert(key.to_owned(), Arc::clone(&variants));
        }
        drop(changes);
        Ok(variants)
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the variants of a key. The oldest key goes if there are too many.
    ///
    /// # Errors
    /// Writing fails.
    pub fn change(
        &self,
        key: &str,
        change: impl FnOnce(&mut Vec<StoredResponse>),
    ) -> Result<(), Error> {
        let mut gone = vec![key.to_owned()];
        let writing = self.database.begin_write()?;
        {
            let (mut rows, mut order) = (writing.open_table(ROWS)?, writing.open_table(ORDER)?);
            let mut variants = vec![];
            if let Some(row) = rows.get(key)? {
                let (number, bytes) = row.value();
                order.remove(number)?;
                variants = postcard::from_bytes(bytes).unwrap_or_default();
            }
            change(&mut variants);
            variants.truncate(MAX_VARIANTS);
            match postcard::to_stdvec(&variants) {
                Ok(bytes) if !variants.is_empty() => {
                    let number = order.last()?.map_or(0, |(number, _)| number.value() + 1);
                    rows.insert(key, (number, &bytes[..]))?;
                    order.insert(number, key)?;
                }
                _ => drop(rows.remove(key)?),
            }
            while rows.len()? > self.most {
                let Some((_, oldest)) = order.pop_first()? else { break };
                rows.remove(oldest.value())?;
                gone.push(oldest.value().to_owned());
            }
        }
        writing.commit()?;
        let mut changes = self.changes();
        *changes += 1;
        gone.iter().for_each(|key| drop(self.recent.remove(key)));
        Ok(())
    }

    /// Removes the keys for which `is_purged` is true. Returns how many.
    ///
    /// # Errors
    /// Writing fails.
    pub fn purge(&self, is_purged: impl Fn(&str) -> bool) -> Result<u64, Error> {
        let writing = self.database.begin_write()?;
        let mut purged = 0;
        {
            let (mut rows, mut order) = (writing.open_table(ROWS)?, writing.open_table(ORDER)?);
            rows.retain(|key, _| {
                purged += u64::from(is_purged(key));
                !is_purged(key)
            })?;
            order.retain(|_, key| !is_purged(key))?;
        }
        writing.commit()?;
        let mut changes = self.changes();
        *changes += 1;
        self.recent.clear();
        Ok(purged)
    }
}
