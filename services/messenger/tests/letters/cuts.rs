//! Several hundred letters, while every process is killed again and again, at every state it can be in.

use std::collections::BTreeMap;

use octet_messages::courier::{self, CourierError};
use octet_messages::limits::AGAIN;
use octet_messages::person::PersonEvent;
use octet_messenger::mailbox;

use crate::world::{Box, ENDLESS, Party};

/// Letters each way: with these each state is cut. More of them with `--soak`.
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
    // Every state that there is was cut: writing asks nothing of a mailbox.
    let states = 2 + (3 + 3) + (3 + 3);
    assert_eq!(cuts.len(), states, "{cuts:?}");
}

/// Both have two, of which one is off now and then, or both have lost what lay there.
#[test]
fn each_letter_is_shown_once_and_in_order_where_mailboxes_fail() {
    storm(&[&Box::new(ENDLESS), &Box::new(ENDLESS)], true);
}

/// Two people write each other by these mailboxes, and every process is killed. In which state how often is returned.
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
            // A day, or as long as letters lie in a mailbox: they are gone, and left again only after the day.
            pass(boxes, if chance.u8(..4) == 0 { AGAIN } else { ENDLESS.lifetime });
        }
        let who = chance.usize(..2);
        let doing = ALL[chance.usize(..ALL.len())];
        let text = format!("letter {steps} of {who}");
        let (party, other) = (&mut pair[who], names[1 - who]);
        if doing == Doing::Writing && written[who].len() == letters {
            continue;
        }
        // A quarter of all goes without a cut, a quarter with one of a mailbox, and half with one of the person.
        let kind = chance.usize(..4);
        let here = boxes[chance.usize(..boxes.len())];
        if kind == 1 {
            let stage = mailbox::RequestStage::ALL[chance.usize(..3)];
            // Who fetches changes something there once, by saying what can go.
            let once = doing == Doing::Fetching && stage != mailbox::RequestStage::Come;
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
                    courier.tell(PersonEvent::Write(other, text.clone()), now)?;
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
        // Whether something was written is for the history to say: who was told of an error looks there.
        let new = party.history_from(lines[who]);
        lines[who] += new.len() as u64;
        let own = new.into_iter().filter(|line| !line.received).map(|line| line.text);
        written[who].extend(own);
    }
    // Nobody is cut or off any more.
    for one in boxes {
        one.is_off(false);
    }
    for _ in 0..3 {
        if are_lost {
            pass(boxes, AGAIN);
        }
        // What one leaves the other has within the day.
        for who in [0, 1, 0, 1] {
            // The first connection may be one of before a mailbox was killed.
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
        assert_eq!(pair[who].courier().person().on_their_way(&names[1 - who]), 0);
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
    // Rows of before with the keys of now: nobody reads them.
    std::fs::write(folder.join("rows"), &before[0]).unwrap();
    let store = octet_messages::store::PersonStore::open(&folder, anna.key()).unwrap();
    assert!(store.load().is_err());
    drop(store);
    // With their own keys they are read.
    std::fs::write(folder.join("keys"), &before[1]).unwrap();
    assert_eq!(anna.courier().person().name(), name);
    anna.stop();
    std::fs::write(folder.join("rows"), &after[0]).unwrap();
    std::fs::write(folder.join("keys"), &after[1]).unwrap();
    assert_eq!(anna.courier().person().name(), name);
}
