use std::os::unix::net::UnixStream;
use std::thread;

use octet_node::Peer;
use octet_node::control::{Failure, FailureCode};
use tempfile::TempDir;

use super::*;

pub(super) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed([seed; 32]).unwrap()
}

pub(super) fn genesis() -> String {
    let mut text = "name = \"valley\"\n".to_owned();
    for seed in 0..4 {
        let [owner, validator] = [seed, 10 + seed].map(|seed| key(seed).public());
        text += &format!("[[validator]]\nowner = \"{owner}\"\nkey = \"{validator}\"\n");
    }
    text + &format!("[[account]]\nowner = \"{}\"\nbalance = 5000000\n", key(0).public())
}

/// Runs the command at a box whose ledger has this genesis, and takes a transaction if it `takes`. Returns what is
/// printed, and the transactions that came.
pub(super) fn wallet(
    words: &str,
    of_box: &Genesis,
    takes: bool,
) -> (Result<String, WalletError>, Vec<SignedTransaction>) {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("genesis.toml"), genesis()).unwrap();
    let (own, theirs) = UnixStream::pair().unwrap();
    let (genesis, node) = (of_box.hash(), key(40).public());
    let hash = genesis.to_string();
    let serving = thread::spawn(move || {
        let (mut peer, mut came) = (Peer::new(theirs), vec![]);
        while let Ok(Some(request)) = peer.next_request() {
            let answer = match request.verb.as_str() {
                "account" => {
                    let nonce = 6 + came.len();
                    Ok(
                        json!({ "balance": 5_000_000, "nonce": nonce, "genesis": hash, "height": 7 }),
                    )
                }
                "consent" => {
                    let owner = request.args["owner"].as_str().unwrap().parse().unwrap();
                    let consent = Possession::of_sub_key(&genesis, &owner, &node, 3, &key(30));
                    Ok(json!({
                        "node": node, "key": key(30).public(), "epoch": 3, "genesis": hash,
                        "consent": BASE64.encode(&consent.0),
                    }))
                }
                "locks" => Ok(json!([
                    { "neighbour": "mill", "own_key": key(30).public(), "their_key": null },
                    { "neighbour": "hill", "own_key": key(30).public(), "their_key": key(31).public() },
                ])),
                "key" => Ok(json!({ "owner": key(3).public() })),
                "submit" if takes => {
                    let text = request.args["transaction"].as_str().unwrap();
                    let bytes = BASE64.decode(text.as_bytes()).unwrap();
                    came.push(SignedTransaction::from_bytes(&bytes).unwrap());
                    Ok(Value::Null)
                }
                "submit" => Err(Failure::new(FailureCode::Failed, "no room", "wait")),
                verb => panic!("{verb}"),
            };
            peer.end(request.id, answer).unwrap();
        }
        came
    });
    let words = format!("wallet {words}");
    let line = WalletLine::try_parse_from(words.split(' ')).unwrap();
    let result = run(&line, &mut Client::new(own), &key(0), folder.path());
    (result, serving.join().unwrap())
}

#[test]
fn what_is_signed_is_what_was_said() {
    let own = Genesis::from_toml(&genesis()).unwrap();
    let to = key(9).public();
    let (printed, came) = wallet(&format!("transfer {to} 1.25"), &own, true);
    assert_eq!(printed.unwrap(), format!("1.250000 coins are {to}'s since height 7\n"));
    let [signed] = came[..] else { panic!("{came:?}") };
    signed.verify(&own.hash()).unwrap();
    let action = Action::Transfer { to, amount: 1_250_000 };
    let expected = Transaction { signer: key(0).public(), nonce: 7, action };
    assert_eq!(*signed.transaction(), expected);
    let (shown, came) = wallet("show", &own, true);
    let expected = format!("{}\n5.000000 coins at height 7\n", key(0).public());
    assert_eq!((shown.unwrap(), came), (expected, vec![]));
}

#[test]
fn a_vote_has_the_consent() {
    let own = Genesis::from_toml(&genesis()).unwrap();
    let (owner, validator) = (key(8).public(), key(18));
    let consent = Possession::of_validator(&own.hash(), &owner, 1, &validator);
    let text = BASE64.encode(&consent.0);
    let words = format!("vote-add {owner} {} {text}", validator.public());
    let (_, came) = wallet(&words, &own, true);
    let change = VotedChange::Add { owner, key: validator.public(), epoch: 1 };
    let expected = Action::Vote { change, consent: Some(consent) };
    assert_eq!(came[0].transaction().action, expected);
    came[0].verify(&own.hash()).unwrap();
    let (_, came) = wallet(&format!("vote-remove {owner}"), &own, true);
    let expected = Action::Vote { change: VotedChange::Remove { owner }, consent: None };
    assert_eq!(came[0].transaction().action, expected);
}

/// Nothing is signed for a ledger that is not the one of the file.
#[test]
fn another_ledger_is_noticed() {
    let other = Genesis::from_toml(&genesis().replace("valley", "hill")).unwrap();
    let (refused, came) = wallet(&format!("transfer {} 1", key(9).public()), &other, true);
    assert!(matches!(refused, Err(WalletError::OtherLedger { .. })), "{refused:?}");
    assert_eq!(came, []);
}

#[test]
fn what_cannot_be_is_refused() {
    let own = Genesis::from_toml(&genesis()).unwrap();
    let to = key(9).public();
    // The fee is 0.0001.
    let (refused, came) = wallet(&format!("transfer {to} 4.999901"), &own, true);
    assert!(matches!(refused, Err(WalletError::TooFew { .. })), "{refused:?}");
    assert_eq!(came, []);
    assert!(wallet(&format!("transfer {to} 4.9999"), &own, true).0.is_ok());
    let (refused, _) = wallet(&format!("transfer {to} 1"), &own, false);
    assert!(matches!(refused, Err(WalletError::Remote(_))), "{refused:?}");
    for bad in ["0", "-1", "0.0000001", "1,5"] {
        let words = ["wallet", "transfer", &to.to_string(), bad].map(str::to_owned);
        assert!(WalletLine::try_parse_from(words).is_err(), "{bad}");
    }
}

#[test]
fn the_key_of_the_box_is_bound() {
    let own = Genesis::from_toml(&genesis()).unwrap();
    let (printed, came) = wallet("bind 1.5", &own, true);
    let printed = printed.unwrap();
    assert!(printed.contains(&key(30).public().to_string()), "{printed}");
    assert!(printed.contains("1.500000 coins in a day"), "{printed}");
    let (node, of_box) = (key(40).public(), key(30).public());
    let consent = Possession::of_sub_key(&own.hash(), &key(0).public(), &node, 3, &key(30));
    let expected = Action::BindKey { node, key: of_box, epoch: 3, max_per_day: 1_500_000, consent };
    assert_eq!(came[0].transaction().action, expected);
    came[0].verify(&own.hash()).unwrap();
    let (_, came) = wallet(&format!("revoke {of_box}"), &own, true);
    assert_eq!(came[0].transaction().action, Action::RevokeKey { key: of_box });
    // The box cannot have a key bound on another ledger.
    let other = Genesis::from_toml(&genesis().replace("valley", "hill")).unwrap();
    let (refused, came) = wallet("bind 1.5", &other, true);
    assert!(matches!(refused, Err(WalletError::OtherLedger { .. })), "{refused:?}");
    assert_eq!(came, []);
}

#[test]
fn coins_are_locked_for_a_neighbour() {
    let own = Genesis::from_toml(&genesis()).unwrap();
    let [payer, payee, owner] = [30, 31, 3].map(|seed| key(seed).public());
    let (printed, came) = wallet("lock hill 0.75", &own, true);
    let expected = format!(
        "0.750000 coins are locked for hill since height 7\nits key is {payee}\nits owner is {owner}\n"
    );
    assert_eq!(printed.unwrap(), expected);
    assert_eq!(came[0].transaction().action, Action::Lock { payer, payee, amount: 750_000 });
    let (printed, came) = wallet("withdraw hill", &own, true);
    assert_eq!(came[0].transaction().action, Action::Withdraw { payer, payee });
    let heights = own.parameters().withdrawal_heights;
    assert!(printed.unwrap().contains(&format!("height {}", 7 + heights)));
    for verb in ["lock mill 1", "lock dale 1", "lock hill 5", "withdraw dale"] {
        let (refused, came) = wallet(verb, &own, true);
        assert!(refused.is_err() && came.is_empty(), "{verb}: {refused:?}");
    }
}
