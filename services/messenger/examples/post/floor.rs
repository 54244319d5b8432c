//! The store alone: rows as large as envelopes, each on disk before the next one.

use std::path::Path;
use std::time::{Duration, Instant};

use octet_messages::envelope::SMALLEST;
use redb::{Database, TableDefinition};

use super::Failed;

const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");

/// The duration of `count` commits of one row each.
pub fn commits(folder: &Path, count: usize) -> Result<Duration, Failed> {
    let rows = Database::create(folder.join("floor"))?;
    let envelope = vec![7; SMALLEST];
    let began = Instant::now();
    for number in 0..count as u64 {
        let transaction = rows.begin_write()?;
        transaction.open_table(ROWS)?.insert(number, envelope.as_slice())?;
        transaction.commit()?;
    }
    Ok(began.elapsed())
}
