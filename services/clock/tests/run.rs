//! The loop on a simulated machine: a series of boots, with clocks that are set, disks that fail or
//! hang, and power cuts at any moment.

#![cfg(test)]

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use octet_clock::decide::Time;
use octet_clock::record::ClockRecord;
use octet_clock::reservation::BothClocks;
use octet_clock::run::{ClockEvent, ClockMachine, SetBack, Until, run};
use octet_node::durable::StoredFile;
use proptest::prelude::*;

const BUILD: Time = Duration::from_secs(1_700_000_000);

/// An event while the loop waits.
#[derive(Debug, Clone, Copy)]
enum Incident {
    /// The wait ends without an event.
    Sleep,
    Answer,
    /// Writing fails.
    Fail,
    /// The clock is set ahead by this many seconds.
    Ahead(u64),
    /// The clock is set back by this many seconds.
    Back(u64),
    /// An owner sets it back to this many seconds after the build.
    Owner(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// SIGTERM, with a working disk.
    Ordered,
    Cut,
    /// The process is killed, and restarted in the same boot.
    Killed,
}

#[derive(Debug, Default)]
struct World {
    now: BothClocks,
    /// The latest time that the clock has shown since it was ready for the first time.
    shown: Time,
    disk: Option<ClockRecord>,
    damaged: bool,
    may_set: bool,
    has_disk: bool,
    incidents: VecDeque<Incident>,
    end: Option<End>,
    ended: bool,
    reading: bool,
    writing: Option<ClockRecord>,
    works: bool,
    ready: bool,
    said: Vec<String>,
    waits: usize,
    doubted: bool,
    /// The channel for the result of the owner's request.
    owner: Option<Receiver<Result<(), String>>>,
}

impl World {
    fn new() -> Self {
        Self { may_set: true, has_disk: true, ..Self::default() }
    }

    /// A boot: `rtc` is the time of the clock; with `None` it runs on.
    fn boot(
        &mut self,
        number: u128,
        rtc: Option<Time>,
        incidents: &[Incident],
        end: End,
    ) -> io::Result<()> {
        if let Some(wall) = rtc {
            self.now = BothClocks { wall, uptime: Duration::ZERO };
        }
        (self.reading, self.writing, self.ready, self.ended) = (false, None, false, false);
        (self.incidents, self.end) = (incidents.iter().copied().collect(), Some(end));
        self.said.clear();
        run(self, BUILD, number)
    }

    fn pass(&mut self, time: Duration) {
        self.now.wall += time;
        self.now.uptime += time;
        self.look();
    }

    fn look(&mut self) {
        if self.ready {
            self.shown = self.shown.max(self.now.wall);
        }
    }

    fn answer(&mut self, works: bool) -> Option<ClockEvent> {
        let broken = || io::Error::other("broken");
        if std::mem::take(&mut self.reading) {
            let found = self.disk.map_or(StoredFile::Absent, StoredFile::Value);
            let found = if self.damaged { StoredFile::Damaged } else { found };
            let found = if works { Ok(found) } else { Err(broken()) };
            return Some(ClockEvent::Read(found, self.doubted));
        }
        let record = self.writing.take()?;
        self.works = works;
        if works {
            (self.disk, self.damaged) = (Some(record), false);
        }
        Some(ClockEvent::Written(record.until, if works { Ok(()) } else { Err(broken()) }))
    }
}

impl ClockMachine for World {
    fn now(&self) -> BothClocks {
        self.now
    }

    fn set(&mut self, time: Time) -> io::Result<()> {
        assert!(time > self.now.wall || self.doubted, "it sets the clock ahead only");
        if self.doubted {
            self.shown = Time::ZERO;
        }
        if !self.may_set {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.now.wall = time;
        self.look();
        Ok(())
    }

    fn wait(&mut self, until: Until) -> ClockEvent {
        self.waits += 1;
        assert!(self.waits < 100_000, "it goes round and round");
        if self.ready
            && self.writing.is_none()
            && self.works
            && self.has_disk
            && !self.ended
            && let (Until::WallTime(time), Some(disk)) = (until, self.disk)
        {
            let (shown, kept) = (self.shown, disk.until);
            assert!(
                kept >= shown && kept > time,
                "{kept:?} is kept, {shown:?} shown, {time:?} due"
            );
        }
        if self.ended {
            // The process stops, and the last write completes.
            return self.answer(self.end == Some(End::Ordered)).unwrap_or(ClockEvent::Due);
        }
        while let Some(incident) = self.incidents.pop_front() {
            match (incident, until) {
                (Incident::Answer | Incident::Fail, _) => {
                    if let Some(event) = self.answer(matches!(incident, Incident::Answer)) {
                        return event;
                    }
                }
                (Incident::Sleep, Until::ClockSet) => {}
                // Before the process is ready, no program relies on the clock.
                (Incident::Ahead(_) | Incident::Back(_), Until::Timeout(_)) => {}
                (Incident::Sleep, Until::Timeout(time)) => {
                    self.pass(time);
                    return ClockEvent::Due;
                }
                (Incident::Sleep, Until::WallTime(time)) => {
                    self.pass(time.saturating_sub(self.now.wall));
                    return ClockEvent::Due;
                }
                (Incident::Ahead(seconds), _) => {
                    self.now.wall += Duration::from_secs(seconds);
                    self.look();
                    return ClockEvent::Due;
                }
                (Incident::Owner(seconds), _) => {
                    let (done, outcome) = channel();
                    self.owner = Some(outcome);
                    let to = BUILD + Duration::from_secs(seconds);
                    return ClockEvent::SetBack(SetBack { to, done });
                }
                (Incident::Back(seconds), _) => {
                    self.now.wall = self.now.wall.saturating_sub(Duration::from_secs(seconds));
                    return ClockEvent::Due;
                }
            }
        }
        self.ended = true;
        if self.end != Some(End::Ordered) {
            // A killed process writes nothing more.
            self.writing = None;
        }
        ClockEvent::Stop
    }

    fn read(&mut self) -> bool {
        self.reading = self.has_disk;
        self.has_disk
    }

    fn write(&mut self, record: ClockRecord) {
        assert!(self.has_disk && self.writing.is_none() && !self.reading);
        self.writing = (!self.ended || self.end == Some(End::Ordered)).then_some(record);
    }

    fn write_earlier(&mut self, record: ClockRecord) {
        self.doubted = true;
        self.write(record);
    }

    fn notify_ready(&mut self) {
        assert!(!self.ready && self.now.wall >= BUILD);
        self.ready = true;
        self.look();
    }

    fn log(&mut self, text: &str) {
        self.said.push(text.to_owned());
    }
}

const ZERO: Option<Time> = Some(Time::ZERO);

#[test]
fn a_board_without_a_clock() {
    use Incident::{Answer, Sleep};

    let mut world = World::new();
    world.boot(1, ZERO, &[Answer, Answer, Sleep, Answer, Sleep], End::Cut).unwrap();
    assert_eq!(world.now.wall, BUILD + Duration::from_secs(120));
    assert_eq!(world.disk.unwrap().until, BUILD + Duration::from_secs(180));
    assert!(world.said[0].starts_with("set the clock 53years"), "{:?}", world.said);
    // After a power cut it starts after all shown times; after a clean stop, where it ended.
    world.boot(2, ZERO, &[Answer, Answer, Sleep, Answer], End::Ordered).unwrap();
    assert_eq!(world.now.wall, BUILD + Duration::from_secs(240));
    assert_eq!(world.disk.unwrap().until, world.now.wall);
    world.boot(3, ZERO, &[Answer], End::Ordered).unwrap();
    assert_eq!(world.now.wall, BUILD + Duration::from_secs(240));
}

#[test]
fn a_restart_in_the_same_boot_sets_nothing() {
    use Incident::{Answer, Sleep};

    let mut world = World::new();
    world.boot(1, ZERO, &[Answer, Answer, Sleep], End::Killed).unwrap();
    let before = world.now.wall;
    world.boot(1, None, &[Answer], End::Killed).unwrap();
    assert_eq!((world.now.wall, world.said.len()), (before, 0));
    // The same file sets the clock in another boot.
    world.boot(2, ZERO, &[Answer], End::Killed).unwrap();
    assert!(world.now.wall > before);
}

/// A machine whose hardware clock stays in the year 2040: an owner sets the clock back once.
#[test]
fn an_owner_sets_it_back() {
    use Incident::{Answer, Fail, Owner, Sleep};

    let future = BUILD + Duration::from_secs(500_000_000);
    let far = Some(future);
    let outcome = |world: &World| world.owner.as_ref().unwrap().try_recv();
    let mut world = World::new();
    // The clock is not set back before the record is written, or if writing fails.
    world.boot(1, far, &[Sleep, Owner(900), Answer, Answer], End::Cut).unwrap();
    assert!(outcome(&world).unwrap().unwrap_err().contains("the disk is waited for"));
    assert!(world.now.wall > future);
    world.boot(1, None, &[Answer, Owner(900), Fail], End::Killed).unwrap();
    assert_eq!(outcome(&world).unwrap().unwrap_err(), "broken");
    assert!(world.now.wall > future);
    // If the process is killed before the record is written, the request has no effect.
    world.boot(1, None, &[Answer, Owner(900)], End::Killed).unwrap();
    assert!(outcome(&world).is_err() && world.now.wall > future);

    world.boot(1, None, &[Answer, Owner(900), Answer, Sleep, Answer], End::Killed).unwrap();
    assert_eq!(outcome(&world).unwrap(), Ok(()));
    let back = BUILD + Duration::from_secs(900);
    assert_eq!(
        (world.now.wall, world.disk.unwrap().until),
        (back + Duration::from_secs(60), back + Duration::from_secs(180))
    );
    // It continues from there in this boot and in the next, whatever the hardware clock shows.
    world.boot(1, None, &[Answer], End::Ordered).unwrap();
    let kept = world.disk.unwrap().until;
    assert_eq!(kept, back + Duration::from_secs(180));
    world.boot(2, far, &[Answer, Answer], End::Cut).unwrap();
    assert_eq!(world.now.wall, kept);
    assert!(world.said[0].contains("back, to the last time that was kept"), "{:?}", world.said);
    // A plausible hardware clock is used.
    let right = kept + Duration::from_secs(3600);
    world.boot(3, Some(right), &[Answer], End::Cut).unwrap();
    assert_eq!(world.now.wall, right);

    // Without a disk the change is valid for this boot only.
    let mut world = World { has_disk: false, doubted: true, ..World::new() };
    world.boot(1, far, &[Owner(900)], End::Ordered).unwrap();
    assert_eq!((outcome(&world).unwrap(), world.now.wall), (Ok(()), back));
}

#[test]
fn a_dead_disk_keeps_nobody_waiting() {
    use Incident::{Answer, Sleep};

    let mut world = World::new();
    world.disk = Some(ClockRecord { until: BUILD + Duration::from_secs(500), boot: 1 });
    world.boot(2, ZERO, &[Sleep], End::Cut).unwrap();
    assert!(world.ready && world.now.uptime == Duration::from_secs(5));
    assert!(world.said[1].contains("does not say"), "{:?}", world.said);
    // A late answer is still used, and nothing was written over the record before.
    world.boot(3, ZERO, &[Sleep, Answer], End::Cut).unwrap();
    assert_eq!(world.now.wall, BUILD + Duration::from_secs(500));
    assert_eq!(world.disk.unwrap().until, BUILD + Duration::from_secs(500));
}

#[test]
fn what_is_wrong_is_said() {
    use Incident::{Answer, Fail, Sleep};

    let said = |world: &World, text: &str| world.said.iter().filter(|s| s.contains(text)).count();
    let mut world = World { damaged: true, ..World::new() };
    world.boot(1, ZERO, &[Answer, Fail, Sleep, Fail, Sleep, Answer], End::Cut).unwrap();
    assert_eq!(said(&world, "is damaged"), 1);
    assert_eq!((said(&world, "cannot be kept: broken"), said(&world, "is kept again")), (1, 1));
    world.shown = Time::ZERO; // no record of it is left
    world.boot(2, ZERO, &[Fail, Answer], End::Cut).unwrap();
    assert_eq!(said(&world, "cannot be read: broken"), 1);

    let far = BUILD + Duration::from_secs(20 * 31_557_600);
    let mut world = World::new();
    world.boot(1, Some(far), &[Answer, Answer], End::Cut).unwrap();
    assert_eq!((said(&world, "ten years ahead"), world.now.wall), (1, far));

    let mut world = World { has_disk: false, ..World::new() };
    world.boot(1, ZERO, &[], End::Ordered).unwrap();
    assert!(world.ready && said(&world, "no folder") == 1);

    let mut world = World { may_set: false, ..World::new() };
    world.boot(1, Some(BUILD), &[Answer, Answer], End::Ordered).unwrap();
    assert!(world.ready);
    assert!(world.boot(2, ZERO, &[], End::Ordered).is_err());
    assert!(!world.ready);
}

fn incidents() -> impl Strategy<Value = Vec<Incident>> {
    let incident = prop_oneof![
        4 => Just(Incident::Sleep),
        6 => Just(Incident::Answer),
        1 => Just(Incident::Fail),
        1 => (0u64..1000).prop_map(Incident::Ahead),
        1 => (0u64..1000).prop_map(Incident::Back),
    ];
    prop::collection::vec(incident, 0..30)
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Ordered), Just(End::Cut), Just(End::Killed)]
}

proptest! {
    /// Over a series of boots, the initial time is not before any time shown earlier, unless
    /// writing had failed, and never before the build.
    #[test]
    fn never_back(boots in prop::collection::vec((incidents(), end(), 0u64..2_000_000_000), 1..8)) {
        let mut world = World::new();
        let mut number = 1;
        for (mut incidents, end, rtc) in boots {
            let goes_on = world.end == Some(End::Killed);
            number += u128::from(!goes_on);
            let kept = world.disk.map(|record| record.until);
            let covered = kept.is_some_and(|kept| kept >= world.shown);
            if !covered {
                world.shown = Time::ZERO; // no record of it is left
            }
            let (shown, before) = (world.shown, world.now.wall);
            incidents.insert(0, Incident::Answer);
            let rtc = (!goes_on).then(|| Duration::from_secs(rtc));
            let from = rtc.unwrap_or(before);
            // First until it is ready, then the whole boot.
            let result = world.boot(number, rtc, &incidents[..1], End::Killed);
            prop_assert!(result.is_ok() && world.ready);
            prop_assert!(world.now.wall >= BUILD.max(from));
            if goes_on && world.disk.is_some_and(|record| record.boot == number) {
                // A clock that was set keeps its time.
                prop_assert!(world.now.wall == before.max(BUILD));
            } else {
                prop_assert!(kept.is_none_or(|kept| world.now.wall >= kept));
                prop_assert!(world.now.wall >= shown);
            }
            prop_assert!(world.boot(number, None, &incidents, end).is_ok());
            let kept = world.disk.filter(|record| record.boot == number && world.works);
            if end == End::Ordered {
                prop_assert!(kept.is_none_or(|record| record.until >= world.shown));
            }
        }
    }
}
