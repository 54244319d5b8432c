//! The verb about web origins.

use octet_node::control::{Failure, FailureCode};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::http::CacheState;
use crate::origin::Purged;

/// Purges an origin by its name, or one of its URLs, on all boards that have it.
pub(super) fn purge(state: &CacheState, runtime: &Handle, what: &str) -> Result<Value, Failure> {
    answer(what, runtime.block_on(state.origins.purge(what)))
}

fn answer(what: &str, purged: Result<Option<Purged>, redb::Error>) -> Result<Value, Failure> {
    match purged {
        Ok(Some(Purged { keys, failed })) if failed.is_empty() => Ok(json!({ "purged": keys })),
        Ok(Some(Purged { keys, failed })) => {
            let boards = failed.iter().map(|(board, why)| format!("board {board}: {why}"));
            let boards = boards.collect::<Vec<_>>().join("; ");
            let message =
                format!("not all boards have purged it: {boards} (purged elsewhere: {keys})");
            let help = "such a board keeps what it has stored: purge again once it is there";
            Err(Failure::new(FailureCode::Failed, message, help))
        }
        Ok(None) => {
            let message = format!("`{what}` is no origin of this node, and no URL of one");
            let help = "`config show` lists each `[[origin]]` and its board";
            Err(Failure::new(FailureCode::NotFound, message, help))
        }
        Err(error) => {
            let help = "`logs cache` may say more";
            Err(Failure::new(FailureCode::Failed, error.to_string(), help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_that_have_not_purged_are_named() {
        let mut purged = Purged { keys: 7, failed: [].into() };
        assert_eq!(answer("web", Ok(Some(purged))).unwrap(), json!({ "purged": 7 }));
        let failed = [(3, "it is off".to_owned()), (5, "it is full".to_owned())].into();
        purged = Purged { keys: 7, failed };
        let failure = answer("web", Ok(Some(purged))).unwrap_err();
        let said = "not all boards have purged it: board 3: it is off; board 5: it is full (purged elsewhere: 7)";
        assert_eq!((failure.code, failure.message.as_str()), (FailureCode::Failed, said));
        let none = answer("wob", Ok(None)).unwrap_err();
        assert_eq!(none.code, FailureCode::NotFound);
    }
}
