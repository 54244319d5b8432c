//! Requests that only an owner may make, made by others or replayed; each after the owner's own
//! request has succeeded.

use octet_messages::card::ContactCard;
use octet_messages::courier::Wire;
use octet_messages::prekey::Bundle;
use octet_messages::request::{
    Letters, MailboxRefusal, MailboxReply, MailboxRequest, Owned, SignedRequest, signed_bytes,
};
use octet_messenger::mailbox::Visit;
use octet_node::control::PublicKey;

use crate::world::{Box, ENDLESS, Party};

/// A request that this party signs with the nonce of this visit.
fn signed(
    at: &Box,
    visit: &mut Visit,
    signer: &mut Party,
    name: PublicKey,
    mailbox: PublicKey,
    asked: MailboxRequest,
) -> SignedRequest {
    let now = at.now();
    let nonce = at.with(|mailbox| mailbox.handle(visit, SignedRequest::Nonce, now));
    let MailboxReply::Nonce(nonce) = nonce else { panic!("{nonce:?}") };
    let name = *name.as_bytes();
    let signed = signed_bytes(&mailbox, &nonce, &name, &asked);
    let signature = signer.courier().person().sign(&signed).to_vec();
    SignedRequest::Owner(Owned { name, asked, signature })
}

fn visit() -> Visit {
    Visit::new([127, 0, 0, 1].into())
}

#[test]
fn only_the_owner_fetches_and_deletes_and_only_once() {
    let here = Box::new(ENDLESS);
    let (mut anna, mut ben) = (Party::new(&[&here]), Party::new(&[&here]));
    anna.deliver();
    ben.deliver();
    anna.knows(&mut ben, "ben");
    anna.write(ben.name, "one");
    anna.write(ben.name, "two");
    anna.deliver();
    let (own, name, now) = (here.place().mailbox, ben.name, here.now());
    let mut visit = visit();
    let handle = |visit: &mut Visit, request: &SignedRequest| {
        here.with(|mailbox| mailbox.handle(visit, request.clone(), now))
    };
    let forged = MailboxReply::Refused(MailboxRefusal::Forged);

    let fetch = signed(&here, &mut visit, &mut ben, name, own, MailboxRequest::Fetch);
    let MailboxReply::Letters(Letters { generation, letters, .. }) = handle(&mut visit, &fetch)
    else {
        panic!("he may")
    };
    assert_eq!(letters.len(), 2);
    // The same request again, on this connection and on one with another nonce.
    assert_eq!(handle(&mut visit, &fetch), forged);
    let mut other = Visit::new([127, 0, 0, 1].into());
    assert_eq!(handle(&mut other, &fetch), forged);
    handle(&mut other, &SignedRequest::Nonce);
    assert_eq!(handle(&mut other, &fetch), forged);
    // Signed by another person, for another mailbox, and for another request.
    let by_anna = signed(&here, &mut visit, &mut anna, name, own, MailboxRequest::Fetch);
    assert_eq!(handle(&mut visit, &by_anna), forged);
    let elsewhere = signed(&here, &mut visit, &mut ben, name, anna.name, MailboxRequest::Fetch);
    assert_eq!(handle(&mut visit, &elsewhere), forged);
    let numbers = || here.with(|mailbox| mailbox.numbers(&name).unwrap());
    let delete = |upto| MailboxRequest::Acknowledge(generation, upto);
    let SignedRequest::Owner(mut altered) =
        signed(&here, &mut visit, &mut ben, name, own, delete(1))
    else {
        unreachable!()
    };
    altered.asked = delete(2);
    assert_eq!(handle(&mut visit, &SignedRequest::Owner(altered)), forged);
    let by_anna = signed(&here, &mut visit, &mut anna, name, own, delete(2));
    assert_eq!(handle(&mut visit, &by_anna), forged);
    assert_eq!(numbers(), [1, 2]);
    // Messages of another generation.
    let other_disk = MailboxRequest::Acknowledge([0; 16], 2);
    let other_disk = signed(&here, &mut visit, &mut ben, name, own, other_disk);
    let refused = MailboxReply::Refused(MailboxRefusal::OtherGeneration);
    assert_eq!(handle(&mut visit, &other_disk), refused);
    assert_eq!(numbers(), [1, 2]);

    let right = signed(&here, &mut visit, &mut ben, name, own, delete(1));
    assert_eq!(handle(&mut visit, &right), MailboxReply::Done);
    assert_eq!(numbers(), [2]);
    // Numbers are not reused after all messages were deleted.
    let right = signed(&here, &mut visit, &mut ben, name, own, delete(2));
    assert_eq!(handle(&mut visit, &right), MailboxReply::Done);
    anna.write(name, "three");
    anna.deliver();
    assert_eq!(numbers(), [3]);
    ben.fetch();
    assert_eq!(ben.received(anna.name), Vec::<String>::new(), "three waits for one and two");
}

#[test]
fn what_was_told_before_is_not_told_again() {
    let here = Box::new(ENDLESS);
    let mut ben = Party::new(&[&here]);
    let now = here.now();
    let todo = ben.courier().person().pending_actions(now);
    let [octet_messages::person::MailboxAction::Publish { bundle, .. }] = &todo[..] else {
        panic!("{todo:?}")
    };
    let bundle = bundle.clone();
    ben.deliver();
    let keys = || here.with(|mailbox| mailbox.residents().unwrap()[0].keys);
    assert_eq!(keys(), 50);
    let claim = SignedRequest::Claim(*ben.name.as_bytes());
    let mut visit = visit();
    for _ in 0..3 {
        here.with(|mailbox| mailbox.handle(&mut visit, claim.clone(), now));
    }
    assert_eq!(keys(), 47);
    // A repeated request after a lost answer: keys that may have been given away are not stored
    // again.
    let (own, name) = (here.place().mailbox, ben.name);
    let again = MailboxRequest::Publish(bundle.clone());
    let again = signed(&here, &mut visit, &mut ben, name, own, again);
    assert_eq!(here.with(|mailbox| mailbox.handle(&mut visit, again, now)), MailboxReply::Done);
    assert_eq!(keys(), 47);
    // The bundle of another person is refused, whoever signs the request.
    let mut carl = Party::new(&[&here]);
    let others = MailboxRequest::Publish(bundle);
    let others = signed(&here, &mut visit, &mut carl, name, own, others);
    let forged = MailboxReply::Refused(MailboxRefusal::Forged);
    assert_eq!(here.with(|mailbox| mailbox.handle(&mut visit, others, now)), forged);
}

/// A mailbox that returns keys of its own instead of a person's.
#[test]
fn a_mailbox_cannot_stand_between_two() {
    let here = Box::new(ENDLESS);
    let mut parties = [Party::new(&[&here]), Party::new(&[&here]), Party::new(&[&here])];
    for party in &mut parties {
        party.deliver();
    }
    let [anna, ben, eve] = &mut parties;
    anna.knows(ben, "ben");
    anna.write(ben.name, "for ben alone");
    let place = here.place();
    let mut claimed = |of: PublicKey| {
        let request = SignedRequest::Claim(*of.as_bytes());
        match eve.courier().wire().request(&place, &request).unwrap() {
            MailboxReply::Claimed(card, prekey) => (card, prekey),
            answer => panic!("{answer:?}"),
        }
    };
    let (his_card, his_key) = claimed(ben.name);
    let (her_card, her_key) = claimed(anna.name);
    assert!(ContactCard::from_bytes(&her_card).is_ok());
    let event = |card: &[u8], key: &[u8]| {
        octet_messages::person::PersonEvent::Claimed(ben.name, card.to_vec(), key.to_vec())
    };
    let now = here.now();
    for (card, key) in [(&her_card, &her_key), (&his_card, &her_key), (&her_card, &his_key)] {
        assert!(anna.courier().apply(event(card, key), now).is_err());
    }
    for at in 0..his_key.len() {
        let mut altered = his_key.clone();
        altered[at] ^= 1;
        assert!(anna.courier().apply(event(&his_card, &altered), now).is_err(), "byte {at}");
    }
    anna.courier().apply(event(&his_card, &his_key), now).unwrap();
    anna.deliver();
    ben.fetch();
    assert_eq!(ben.received(anna.name), ["for ben alone"]);
    // A message is shown once, even if the mailbox returns it again.
    let envelope = Party::last_envelope(&here);
    ben.read(&envelope);
    ben.read(&envelope);
    assert_eq!(ben.received(anna.name), ["for ben alone"]);
    assert!(Bundle::from_bytes(&his_card).is_err());
}
