//! Messages that arrive in another order than they were written, and more than once.

use crate::world::{Box, ENDLESS, Party};

const LETTERS: usize = 30;

#[test]
fn whatever_order_they_come_in_they_are_shown_in_theirs() {
    let mut chance = fastrand::Rng::with_seed(27);
    let (here, there) = (Box::new(ENDLESS), Box::new(ENDLESS));
    let (mut anna, mut ben) = (Party::new(&[&here, &there]), Party::new(&[&there, &here]));
    anna.deliver();
    ben.deliver();
    anna.knows(&mut ben, "ben");
    ben.knows(&mut anna, "anna");
    // The first messages start a session, the later ones continue it.
    for round in 0..2 {
        let start = there.0.borrow().heard.len();
        let texts: Vec<String> = (0..LETTERS).map(|at| format!("{round}, {at}")).collect();
        for text in &texts {
            anna.write(ben.name, text);
        }
        anna.deliver();
        let mut envelopes = Party::envelopes(&there, start);
        assert_eq!(envelopes.len(), LETTERS);
        let again: Vec<_> = envelopes.iter().filter(|_| chance.bool()).cloned().collect();
        envelopes.extend(again);
        chance.shuffle(&mut envelopes);
        let before = ben.received(anna.name);
        let refused = ben.courier().person().refused();
        for (at, envelope) in envelopes.iter().enumerate() {
            ben.read(envelope);
            let shown = ben.received(anna.name).split_off(before.len());
            assert_eq!(shown, texts[..shown.len()]);
            // Unshown texts persist over a restart.
            if at % 10 == 0 {
                ben.stop();
            }
        }
        assert_eq!(ben.received(anna.name)[before.len()..], texts);
        let twice = (envelopes.len() - LETTERS) as u64;
        assert_eq!(ben.courier().person().refused() - refused, twice);
        ben.write(anna.name, "I have them");
        ben.deliver();
        anna.fetch();
        assert_eq!(anna.courier().person().unacknowledged(&ben.name), 0);
    }
}
