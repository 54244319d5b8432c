//! Two users, from `init` to an answer.

use octet_node::durable::ExistingFile;
use octet_node::key::{self, random};

use crate::world::{Person, Site, lines, new_folder};

#[test]
fn two_people_who_are_never_there_at_the_same_time() {
    let folder = new_folder();
    let (file, seed) = (folder.path().join("letters"), random().unwrap());
    let site = Site::start(&file, seed, ([127, 0, 0, 1], 0).into());
    let at = site.at;
    let (anna, ben) = (Person::new(folder.path(), "anna"), Person::new(folder.path(), "ben"));
    let names = [&anna, &ben].map(|person| person.join(&site));
    assert!(ben.complain(&["init", "--mailbox", &site.name()]).contains("already"));
    let invite = ben.say(&["invite", "--line"]);
    assert!(invite.starts_with("OCTET-MSG:") && invite.lines().count() == 1);
    let with_code = ben.say(&["invite"]);
    assert!(with_code.starts_with(&invite) && with_code.lines().count() > 15, "{with_code}");

    // Ben is offline. Anna's message outlives the processes of the mailbox and of her client.
    let number = anna.say(&["add", "ben", &invite]);
    assert_eq!(anna.say(&["send", "ben", "are you there?"]), "left at the mailbox of ben\n");
    drop(site);
    let said = anna.run(&["send", "ben", "it is me"]);
    assert!(said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).contains("does not answer"));
    assert!(String::from_utf8_lossy(&said.stdout).contains("kept here: 1"));
    let site = Site::start(&file, seed, at);
    assert_eq!(anna.say(&["receive"]), "");
    assert_eq!(anna.say(&["send", "ben", "anna"]), "left at the mailbox of ben\n");

    // Ben receives messages by her key, until he adds her as a contact.
    let said = ben.say(&["receive"]);
    let from = |text: &str| format!("{}: {text}", names[0]);
    assert_eq!(lines(&said), ["are you there?", "it is me", "anna"].map(from));
    assert_eq!(ben.say(&["receive"]), "", "each is shown once");
    let invite = anna.say(&["invite", "--line"]);
    let same_number = ben.say(&["add", "anna", &invite]);
    let digits = |said: &str| said.trim().rsplit_once(": ").unwrap().1.to_owned();
    assert_eq!(digits(&number), digits(&same_number));
    assert_eq!(ben.say(&["send", "anna", "yes, I am"]), "left at the mailbox of anna\n");
    assert_eq!(lines(&anna.say(&["receive"])), ["ben: yes, I am"]);

    // A command is a message whose text is signed with another key, the operator's.
    let path = folder.path().join("key");
    let key = path.to_str().unwrap();
    let complaint = anna.complain(&["command", "--key", key, "ben", "status"]);
    assert!(complaint.contains("no key of an operator"), "{complaint}");
    let operator = key::create(&path, ExistingFile::Keep, |_| Ok(())).unwrap();
    for words in [&["status"][..], &["boards"], &["init", "logs", "lines=3", "unit=cache"]] {
        let line = [&["command", "--key", key, "ben"], words].concat();
        assert_eq!(anna.say(&line), "left at the mailbox of ben\n");
    }
    let complaint = anna.complain(&["command", "--key", key, "ben", "init", "logs", "lines"]);
    assert!(complaint.contains("NAME=VALUE"), "{complaint}");
    let said = ben.say(&["receive"]);
    let orders = lines(&said).into_iter().map(|line| {
        let text = line.strip_prefix("anna: ").unwrap().to_owned();
        let command = octet_node::command::Command::try_from(text).unwrap();
        let order = command.body();
        assert_eq!(
            (order.target.to_string(), order.operator),
            (names[1].clone(), operator.public())
        );
        let args = serde_json::Value::Object(order.args.clone());
        format!("{} {} {args}", order.unit, order.verb)
    });
    let wanted = ["init status {}", "cluster show {}", r#"init logs {"lines":3,"unit":"cache"}"#];
    assert_eq!(orders.collect::<Vec<_>>(), wanted);

    let history = ["to ben: are you there?", "to ben: it is me", "to ben: anna", "ben: yes, I am"];
    assert_eq!(lines(&anna.say(&["history", "ben"]))[..history.len()], history);
    let stranger = Person { passphrase: ben.passphrase.clone(), folder: anna.folder.clone() };
    let complaint = stranger.complain(&["history"]);
    assert!(complaint.contains("passphrase is wrong"), "{complaint}");
    assert!(anna.complain(&["send", "carl", "hello"]).contains("you have no contact `carl`"));
    drop(site);
}
