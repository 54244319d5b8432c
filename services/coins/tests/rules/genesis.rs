//! Genesis files.

use std::fmt::Write as _;

use octet_coins::{Genesis, GenesisProblem, LedgerParameters, PoolParameters};

use crate::ledger::{genesis_with, owner, validator, weak};

fn file(validators: u8) -> String {
    let mut text = "name = \"valley\"\nspacing_seconds = 5\nfee = 7\n".to_owned();
    for number in 0..validators {
        let (owner, key) = (owner(number).public(), validator(number, 0).public());
        writeln!(text, "[[validator]]\nowner = \"{owner}\"\nkey = \"{key}\"").unwrap();
    }
    for number in 0..2 {
        let owner = owner(number).public();
        writeln!(text, "[[account]]\nowner = \"{owner}\"\nbalance = {}", number + 10).unwrap();
    }
    text
}

#[test]
fn a_file_says_how_a_ledger_begins() {
    let genesis = Genesis::from_toml(&file(4)).unwrap();
    assert_eq!(genesis.name(), "valley");
    assert_eq!(genesis.validators().len(), 4);
    assert_eq!(genesis.balances()[&owner(1).public()], 11);
    assert_eq!(genesis.sum(), 21);
    let expected = LedgerParameters {
        spacing: std::time::Duration::from_secs(5),
        heights_per_day: 17_280,
        withdrawal_heights: 7 * 17_280,
        claim_heights: 17_280,
        vote_heights: 7 * 17_280,
        settlement_heights: 720,
        fee: 7,
        pool: None,
    };
    assert_eq!(*genesis.parameters(), expected);
    let default = Genesis::from_toml(&file(4).replace("spacing_seconds = 5\nfee = 7\n", ""));
    let default = *default.unwrap().parameters();
    assert_eq!((default.spacing.as_secs(), default.heights_per_day), (10, 8640));
    assert_eq!((default.fee, default.settlement_heights), (100, 360));
}

#[test]
fn the_order_does_not_matter_and_all_else_does() {
    let text = file(4);
    let hash = Genesis::from_toml(&text).unwrap().hash();
    let (head, tail) = text.split_once("[[validator]]").unwrap();
    let (first, rest) = tail.split_once("[[validator]]").unwrap();
    let moved = format!("{head}[[validator]]{rest}[[validator]]{first}");
    assert_eq!(Genesis::from_toml(&moved).unwrap().hash(), hash);
    let others = [
        ("name = \"valley\"", "name = \"hills\""),
        ("spacing_seconds = 5", "spacing_seconds = 6"),
        ("fee = 7", "fee = 8"),
        ("fee = 7", "fee = 7\nheights_per_day = 9"),
        ("fee = 7", "fee = 7\nwithdrawal_heights = 9"),
        ("fee = 7", "fee = 7\nclaim_heights = 9"),
        ("fee = 7", "fee = 7\nvote_heights = 9"),
        ("fee = 7", "fee = 7\nsettlement_heights = 9"),
        ("balance = 10", "balance = 12"),
        (&owner(0).public().to_string(), &owner(9).public().to_string()),
        (&validator(0, 0).public().to_string(), &validator(9, 0).public().to_string()),
    ];
    let mut hashes = vec![hash];
    for (now, other) in others {
        let changed = text.replace(now, other);
        assert_ne!(changed, text);
        hashes.push(Genesis::from_toml(&changed).unwrap().hash());
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), others.len() + 1);
}

#[test]
fn mistakes_have_a_line_and_help() {
    let (text, four) = (file(4), owner(3).public());
    let (key_0, key_3) = (validator(0, 0).public(), validator(3, 0).public());
    let (of_0, of_1) = (owner(0).public().to_string(), owner(1).public().to_string());
    let replaced = |now: &str, other: &str| {
        assert!(text.contains(now));
        text.replacen(now, other, 1)
    };
    let out_of_range =
        |key, value, min, max| Some(GenesisProblem::OutOfRange { key, value, min, max });
    let account_1 = text.rsplit_once(&of_1).unwrap();
    for (wrong, line, problem) in [
        (replaced("fee = 7", "fees = 7"), 3, None),
        (replaced("fee = 7", "fee = -7"), 3, None),
        (replaced("owner = \"did:key:z", "owner = \"did:key:y"), 5, None),
        (replaced("valley", "Valley"), 1, Some(GenesisProblem::Name)),
        (replaced("valley", ""), 1, Some(GenesisProblem::Name)),
        (replaced("fee = 7", "fee = 0"), 3, out_of_range("fee", 0, 1, 1_000_000_000)),
        (
            replaced("spacing_seconds = 5", "spacing_seconds = 3601"),
            2,
            out_of_range("spacing_seconds", 3601, 1, 3600),
        ),
        (
            replaced("fee = 7", "vote_heights = 0"),
            3,
            out_of_range("vote_heights", 0, 1, 100_000_000),
        ),
        (file(3), 10, Some(GenesisProblem::TooFewValidators(3))),
        (file(65), 196, Some(GenesisProblem::TooManyValidators(65))),
        (replaced(&of_0, &four.to_string()), 13, Some(GenesisProblem::OwnerTwice(four))),
        (
            replaced(&key_3.to_string(), &key_0.to_string()),
            13,
            Some(GenesisProblem::KeyTwice(key_0)),
        ),
        (
            format!("{}{of_0}{}", account_1.0, account_1.1),
            19,
            Some(GenesisProblem::AccountTwice(owner(0).public())),
        ),
        (
            replaced(&key_0.to_string(), &weak().to_string()),
            4,
            Some(GenesisProblem::WeakKey(weak())),
        ),
        (replaced("balance = 10", "balance = 0"), 16, Some(GenesisProblem::Zero)),
        (
            replaced("balance = 10", "balance = 4611686018427387894"),
            19,
            Some(GenesisProblem::TooManyCoins),
        ),
    ] {
        let error = Genesis::from_toml(&wrong).unwrap_err();
        assert_eq!(error.line, line, "{error}");
        assert!(!error.help().is_empty());
        match problem {
            Some(problem) => assert_eq!(error.problem, problem),
            None => assert!(matches!(error.problem, GenesisProblem::Syntax(_)), "{error}"),
        }
    }
    let most = replaced("balance = 10", "balance = 4611686018427387893");
    assert_eq!(Genesis::from_toml(&most).unwrap().sum(), 1 << 62);
    assert!(Genesis::from_toml(&text).is_ok());
    assert_eq!(genesis_with(4).name(), "valley");
}

/// The pool's keys are on line 4 and the following.
fn with_pool(keys: &str) -> String {
    file(4).replacen("[[validator]]", &format!("[pool]\n{keys}\n[[validator]]"), 1)
}

#[test]
fn a_file_says_how_a_pool_pays() {
    let pool = |keys| Genesis::from_toml(&with_pool(keys)).unwrap().parameters().pool;
    assert_eq!(Genesis::from_toml(&file(4)).unwrap().parameters().pool, None);
    let default = PoolParameters {
        per_period: 7,
        halving_periods: 0,
        fees_percent: 50,
        owner_percent: 10,
        levy_permille: 10,
    };
    assert_eq!(pool("per_period = 7"), Some(default));
    let keys = [
        ("halving_periods", 0, 100_000_000),
        ("fees_percent", 0, 100),
        ("owner_percent", 1, 100),
        ("levy_permille", 0, 100),
    ];
    let mut hashes = vec![Genesis::from_toml(&file(4)).unwrap().hash()];
    hashes.extend([7, 8].map(|most| {
        Genesis::from_toml(&with_pool(&format!("per_period = {most}"))).unwrap().hash()
    }));
    for (key, min, max) in keys {
        let written = |value: u64| with_pool(&format!("per_period = 7\n{key} = {value}"));
        for value in [min, max] {
            assert!(Genesis::from_toml(&written(value)).is_ok(), "{key}");
        }
        hashes.push(Genesis::from_toml(&written(max - 1)).unwrap().hash());
        for value in [max + 1].into_iter().chain(min.checked_sub(1)) {
            let error = Genesis::from_toml(&written(value)).unwrap_err();
            assert_eq!(error.problem, GenesisProblem::OutOfRange { key, value, min, max });
            assert_eq!(error.line, 6);
        }
    }
    let count = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
    // The default written out is the default.
    let same = "per_period = 7\nlevy_permille = 10\nfees_percent = 50";
    let hash = |keys| Genesis::from_toml(&with_pool(keys)).unwrap().hash();
    assert_eq!(hash(same), hash("per_period = 7"));
    for (keys, line) in [
        ("per_period = 0", 5),
        ("per_period = 4611686018427387905", 5),
        ("per_periods = 7", 5),
        ("per_period = 7\nfees_percent = -1", 6),
        ("fees_percent = 50", 4),
    ] {
        let error = Genesis::from_toml(&with_pool(keys)).unwrap_err();
        assert_eq!(error.line, line, "{error}");
        assert!(!error.help().is_empty());
    }
    assert!(pool("per_period = 4611686018427387904").is_some());
}
