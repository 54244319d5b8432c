//! The thread that writes to disk. No other thread waits for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use octet_node::boot::BootId;

use crate::store::{Context, LogStore, Marks, Recovered, StoreLimits};
use crate::tail::{RingItem, Tail};

/// The maximum number of blocks per sync.
const BLOCKS_PER_SYNC: u64 = 8;

pub struct Settings {
    pub folder: PathBuf,
    pub limits: StoreLimits,
    pub boot: BootId,
    /// The pause before a failed disk is tried again.
    pub retry: Duration,
}

/// Writes waiting entries of `tail` to disk until it is stopped. After the store was first opened,
/// its marks of this boot are sent to `opened`; `None` if the store is not usable yet.
pub fn run(settings: &Settings, tail: &Arc<Tail>, opened: &Sender<Option<Marks>>) {
    let mut opened_before = false;
    let mut told = None;
    loop {
        let trouble = match LogStore::open(&settings.folder, settings.limits) {
            Ok((store, recovered)) => {
                let last = recovered.last.as_ref();
                tail.set_opened(last, store.segments(), settings.boot, !opened_before);
                log_recovery(tail, &recovered, told.is_some());
                let _ = opened.send(last.filter(|l| l.boot == settings.boot).map(|l| l.marks));
                opened_before = true;
                told = None;
                match write(settings, tail, store) {
                    Ok(()) => return,
                    Err(trouble) => trouble,
                }
            }
            Err(trouble) => trouble,
        };
        let trouble = format!("{}: {trouble}", settings.folder.display());
        tail.set_failed(&trouble);
        if told.as_ref() != Some(&trouble) {
            tail.log(&format!("the log is kept in memory only: {trouble}"));
            told = Some(trouble);
        }
        let _ = opened.send(None);
        if !tail.sleep(settings.retry) {
            return;
        }
    }
}

/// Logs the state in which a store was found.
fn log_recovery(tail: &Tail, recovered: &Recovered, after_trouble: bool) {
    {
        let stats = &mut tail.lock().stats;
        stats.torn += recovered.torn;
        stats.damaged += recovered.damaged;
    }
    if after_trouble {
        tail.log("the log is kept on disk again");
    }
    if recovered.torn > 0 {
        tail.log(&format!("cut {} torn bytes off the end of the log", recovered.torn));
    }
    if recovered.damaged > 0 {
        tail.log(&format!("skipped {} damaged places of the log", recovered.damaged));
    }
}

/// Writes to `store` until the keeper is stopped, or the disk fails.
fn write(settings: &Settings, tail: &Tail, mut store: LogStore) -> std::io::Result<()> {
    while tail.wait_for_block() {
        let result = write_some(settings, tail, &mut store);
        match result {
            Ok(blocks) => tail.stored(store.segments(), blocks),
            Err(error) => {
                store.abandon();
                return Err(error);
            }
        }
    }
    Ok(())
}

fn write_some(settings: &Settings, tail: &Tail, store: &mut LogStore) -> std::io::Result<u64> {
    let mut blocks = 0;
    while blocks < BLOCKS_PER_SYNC {
        let items: Vec<Arc<RingItem>> = tail.take_block();
        let Some(last) = items.last() else { break };
        let context = Context { boot: settings.boot, marks: last.marks };
        store.append(items.iter().map(|item| &item.entry), context)?;
        blocks += 1;
    }
    store.sync()?;
    Ok(blocks)
}
