//! Several hundred messages, while all processes are killed repeatedly in every state.

use std::collections::BTreeMap;

use octet_messages::courier::{self, CourierError};
use octet_messages::limits::RESEND_INTERVAL;
use octet_messages::person::PersonEvent;
use octet_messenger::mailbox;

use crate::world::{Box, ENDLESS, Party};

/// The number of messages in each direction, which covers every state; `--soak` sends more.
const LETTERS: usize = 50;
const LETTERS_SOAK: usize = 125;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    Writing,
    Delivering,
    Fetching,
}

const ALL: [Doing; 3] = [Doing::Writing, Doing::Delivering, Doing::Fetching];

#[test]
fn each_letter_is_shown_once_and_in_order() {
    let cuts = storm(&[&Box::new(ENDLESS)], false);
    // Every state was interrupted: writing sends no request to a mailbox.
    let states = 2 + (3 + 3) + (3 + 3);
    assert_eq!(cuts.len(), states, "{cuts:?}");
}

/// Both people have two mailboxes, of which one is temporarily off, or both have lost their
/// messages.
#[test]
fn each_letter_is_shown_once_and_in_order_where_mailboxes_fail() {
    storm(&[&Box::new(ENDLESS), &Box::new(ENDLESS)], true);
}

/// Two people exchange messages through these mailboxes, while all processes are killed. Returns
/// how often each state was interrupted.
fn storm(boxes: &[&Box], are_lost: bool) -> BTreeMap<String, usize> {
    let letters = if std::env::var_os("OCTET_SOAK").is_some() { LETTERS_SOAK } else { LETTERS };
    let mut chance = fastrand::Rng::with_seed(27);
    let mut pair = [Party::with(boxes.len(), boxes), Party::with(boxes.len(), boxes)];
    let names = [pair[0].name, pair[1].name];
    pair[0].deliver();
    pair[1].deliver();
    let [anna, ben] = &mut pair;
    anna.knows(ben, "ben");
    ben.knows(anna, "anna");
    let mut written: [Vec<String>; 2] = [vec![], vec![]];
    let mut cuts: BTreeMap<String, usize> = BTreeMap::new();
    let (mut steps, mut lines) = (0, [0, 0]);
    while written.iter().any(|texts| texts.len() < letters) {
        steps += 1;
        if boxes.len() > 1 && chance.u8(..4) == 0 {
            let off = chance.usize(..=boxes.len());
            for (at, one) in boxes.iter().enumerate() {
                one.is_off(at == off);
            }
        }
        if are_lost && chance.u8(..15) == 0 {
            // Lets a day pass, or the lifetime of messages in a mailbox: these are then deleted,
            // and deposited again only after a day.
            pass(boxes, if chance.u8(..4) == 0 { RESEND_INTERVAL } else { ENDLESS.lifetime });
        }
        let who = chance.usize(..2);
        let doing = ALL[chance.usize(..ALL.len())];
        let text = format!("letter {steps} of {who}");
        let (party, other) = (&mut pair[who], names[1 - who]);
        if doing == Doing::Writing && written[who].len() == letters {
            continue;
        }
        // A quarter of the steps is not interrupted; in a quarter a mailbox is killed, and in half
        // of them the person.
        let kind = chance.usize(..4);
        let here = boxes[chance.usize(..boxes.len())];
        if kind == 1 {
            let stage = mailbox::RequestStage::ALL[chance.usize(..3)];
            // A fetch changes the mailbox once, with the acknowledgement.
            let once = doing == Doing::Fetching && stage != mailbox::RequestStage::Received;
            let times = if once { 0 } else { chance.usize(..3) };
            here.0.borrow_mut().cut = Some((stage, times));
        }
        let stage = courier::CourierStage::ALL[chance.usize(..3)];
        let times = if kind > 1 { chance.usize(..3) } else { usize::MAX };
        let started = here.0.borrow().started;
        let planned = here.0.borrow().cut;
        let is_cut = party.run_until(stage, times, |courier, now| match doing {
            Doing::Writing => {
                for _ in 0..chance.usize(1..4) {
                    courier.apply(PersonEvent::Write(other, text.clone()), now)?;
                }
                Ok(())
            }
            Doing::Delivering => {
                courier.deliver(now)?;
                if chance.u8(..8) == 0 {
                    courier.store().rotate()?;
                }
                Ok(())
            }
            Doing::Fetching => match courier.fetch(now) {
                Ok(_) | Err(CourierError::Unreached(_)) => Ok(()),
                Err(error) => Err(error),
            },
        });
        if is_cut {
            *cuts.entry(format!("{doing:?}, {stage:?}")).or_default() += 1;
        }
        if here.0.borrow().started > started {
            let (stage, _) = planned.unwrap();
            *cuts.entry(format!("{doing:?}, mailbox {stage:?}")).or_default() += 1;
        }
        here.0.borrow_mut().cut = None;
        // The history shows whether a text was written, even if the step ended with an error.
        let new = party.history_from(lines[who]);
        lines[who] += new.len() as u64;
        let own = new.into_iter().filter(|line| !line.received).map(|line| line.text);
        written[who].extend(own);
    }
    // From here on nothing is interrupted or off.
    for one in boxes {
        one.is_off(false);
    }
    for _ in 0..3 {
        if are_lost {
            pass(boxes, RESEND_INTERVAL);
        }
        // All messages arrive within the day.
        for who in [0, 1, 0, 1] {
            // The first connection may belong to a mailbox process that was killed.
            pair[who].deliver_where_it_can();
            pair[who].fetch();
        }
    }
    for (state, count) in &cuts {
        println!("{state}: {count}");
    }
    println!("{steps} steps, {} letters", written[0].len() + written[1].len());
    for (who, texts) in written.iter().enumerate() {
        assert!(texts.len() >= letters);
        assert_eq!(&pair[1 - who].received(names[who]), texts);
        assert_eq!(pair[who].courier().person().unacknowledged(&names[1 - who]), 0);
    }
    cuts
}

fn pass(boxes: &[&Box], seconds: u64) {
    for one in boxes {
        one.0.borrow_mut().now += seconds;
        let now = one.now();
        one.with(|mailbox| mailbox.expire(now).unwrap());
    }
}

#[test]
fn a_rotation_that_is_cut_is_finished() {
    let here = Box::new(ENDLESS);
    let mut anna = Party::new(&[&here]);
    anna.deliver();
    let name = anna.name;
    let folder = anna.folder.path().to_owned();
    let old = |file: &str| std::fs::read(folder.join(file)).unwrap();
    anna.stop();
    let before = ["rows", "keys"].map(old);
    anna.courier().store().rotate().unwrap();
    anna.stop();
    let after = ["rows", "keys"].map(old);
    // Old rows with the current keys are unreadable.
    std::fs::write(folder.join("rows"), &before[0]).unwrap();
    let store = octet_messages::store::PersonStore::open(&folder, anna.key()).unwrap();
    assert!(store.load().is_err());
    drop(store);
    // With their own keys they are readable.
    std::fs::write(folder.join("keys"), &before[1]).unwrap();
    assert_eq!(anna.courier().person().name(), name);
    anna.stop();
    std::fs::write(folder.join("rows"), &after[0]).unwrap();
    std::fs::write(folder.join("keys"), &after[1]).unwrap();
    assert_eq!(anna.courier().person().name(), name);
}
