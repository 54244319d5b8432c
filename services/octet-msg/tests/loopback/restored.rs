//! A user makes a backup, loses the folder, and restores it. Refused commands change no file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use octet_node::key::random;

use crate::world::{Person, Site, lines, new_folder};

/// All files below `folder` with their content, and all folders.
fn files(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut self::files(&path));
        }
        files.insert(path.clone(), fs::read(&path).ok());
    }
    files
}

#[test]
fn a_folder_is_lost_and_its_person_goes_on() {
    let (at_mailbox, folder) = (new_folder(), new_folder());
    let folder = folder.path();
    let file = at_mailbox.path().join("letters");
    let site = Site::start(&file, random().unwrap(), ([127, 0, 0, 1], 0).into());
    let (anna, ben) = (Person::new(folder, "anna"), Person::new(folder, "ben"));
    let names = [&anna, &ben].map(|person| person.join(&site));
    let number = anna.say(&["add", "ben", &ben.say(&["invite", "--line"])]);
    ben.say(&["add", "anna", &anna.say(&["invite", "--line"])]);
    anna.say(&["send", "ben", "one"]);
    ben.say(&["receive"]);

    // An existing file is not overwritten, and no other file is created. (Opening the message store
    // writes to it.)
    let path = folder.join("backup");
    let backup = path.to_str().unwrap();
    assert!(anna.say(&["backup", backup]).contains("passphrase"));
    let before = files(folder);
    assert!(anna.refuse(&["backup", backup]).contains("already: name another"));
    assert_eq!(files(folder)[&path], before[&path]);
    assert!(before.keys().eq(files(folder).keys()));

    // Refused restores change nothing; the same backup is restored below.
    let elsewhere = Person { folder: folder.join("elsewhere"), ..Person::new(folder, "anna") };
    let other = Person { folder: elsewhere.folder.clone(), ..Person::new(folder, "ben") };
    let whole = fs::read(&path).unwrap();
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    let copy = |name: &str, bytes: &[u8]| {
        fs::write(folder.join(name), bytes).unwrap();
        folder.join(name).to_str().unwrap().to_owned()
    };
    let (altered, cut) = (copy("altered", &altered), copy("cut", &whole[..whole.len() - 1]));
    let (head, empty) = (copy("head", &whole[..28]), copy("empty", &[]));
    let before = files(folder);
    for (person, file, why) in [
        (&other, backup, "the passphrase is not the one"),
        (&elsewhere, &altered, "or the file was altered"),
        (&elsewhere, &cut, "or the file was altered"),
        (&elsewhere, &head, "not a back-up of version 1, or not all of it"),
        (&elsewhere, &empty, "not a back-up of version 1, or not all of it"),
        (&elsewhere, "no/such/file", "no/such/file: "),
        (&anna, backup, "there is somebody in"),
    ] {
        let complaint = person.refuse(&["restore", file]);
        assert!(complaint.contains(why), "{file}: {complaint}");
        assert!(files(folder) == before, "{file}: {why}");
    }
    let left = folder.join("elsewhere.new");
    fs::create_dir(&left).unwrap();
    assert!(
        elsewhere
            .refuse(&["restore", backup])
            .contains("is left of an interrupted `init` or `restore`")
    );
    fs::remove_dir(&left).unwrap();
    assert!(files(folder) == before);

    // The folder is lost. Ben's next message is encrypted for keys in it.
    let stolen = Person { folder: folder.join("stolen"), ..Person::new(folder, "anna") };
    fs::rename(&anna.folder, &stolen.folder).unwrap();
    ben.say(&["send", "anna", "two"]);
    let said = elsewhere.say(&["restore", backup]);
    assert_eq!(said.lines().next(), Some(&*format!("you are {}", names[0])));
    assert!(elsewhere.folder.is_dir() && !left.exists());
    let people = elsewhere.say(&["people"]);
    let known = format!("ben: {}\n    {}", names[1], number.trim().rsplit_once(": ").unwrap().1);
    assert!(people.contains(&known), "{people}");
    assert_eq!(elsewhere.say(&["receive"]), "");
    let complaint = stolen.refuse(&["receive"]);
    assert!(complaint.contains("after a restore only the restored copy has access"), "{complaint}");

    // Ben's client encrypts the message again, and both continue.
    ben.say(&["receive"]);
    ben.say(&["send", "anna", "three"]);
    assert_eq!(lines(&elsewhere.say(&["receive"])), ["ben: two", "ben: three"]);
    elsewhere.say(&["send", "ben", "four"]);
    assert_eq!(lines(&ben.say(&["receive"])), ["anna: four"]);
    let history = ["anna: one", "to anna: two", "to anna: three", "anna: four"];
    assert_eq!(lines(&ben.say(&["history"])), history);
    drop(site);
}
