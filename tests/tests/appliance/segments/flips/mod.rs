//! A router whose configuration changes repeatedly, with continuous traffic of all zones: at every
//! moment it allows what the old or the new configuration allows; what both allow arrives; and
//! exactly the flows that the new one allows continue.

mod files;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use fastrand::Rng;
use octet_evaluator::{Probe as Asked, World, Zone};
use octet_machine::panel::switchboard::ProbeOutcome;
use octet_tests::{RETRY_DELAY, seed};

use crate::segments::change::{change, quiet};
use crate::segments::flows::{Flow, Side, begin};
use crate::segments::policies;
use crate::segments::site::{Site, probe, sentinels};
use crate::segments::sweep::{blurred, expected, is_right};
use files::{BOARDS, File, asked, files, is_kept, line, playable};

/// The repeated sequence of configurations: each follows each other one.
const ORDER: [usize; 6] = [1, 0, 2, 1, 2, 0];

/// The number of changes.
const COUNT: usize = 500;

/// The number of probes between two checks of all flows.
const AT_ONCE: usize = 100;

/// The pause before the second poll of a change, which doubles each time. The kernel handles probes
/// before netd, so a slow router completes the change only if most of the time is without probes.
const PACE: Duration = Duration::from_millis(100);

/// The results of all changes.
#[derive(Debug, Default)]
struct Tally {
    probes: usize,
    during: usize,
    arrived: usize,
    /// New flows that are allowed by different rules before and after, and were dropped in the
    /// moment in between.
    between: usize,
    kept: usize,
    ended: usize,
    wrong: Vec<String>,
}

/// A router, its configurations, and flows that all of them allow.
struct Flips {
    site: Site,
    files: [File; 3],
    before: usize,
    now: usize,
    asked: Vec<Asked>,
    let_by_some: Vec<Asked>,
    /// Flows in which both ends send.
    kept: Vec<Flow>,
    /// Flows in which only the server sends: if one is ended, no packet starts it again.
    silent: Vec<Flow>,
    flows: u32,
    chance: Rng,
    tally: Tally,
}

impl Flips {
    fn start(fault: Option<&str>, seed: u64) -> Self {
        let files = files();
        let mut site = match fault {
            None => Site::start(&files[0].text),
            Some(fault) => Site::with_fault(&files[0].text, fault),
        };
        site.wait_addresses();
        let asked = asked(&files);
        let to = |file: &File, it: &Asked| expected(&file.world, *it);
        let is_let = |it: &&Asked| files.iter().any(|file| to(file, it).is_some());
        let let_by_some = asked.iter().filter(is_let).copied().collect();
        let all = playable(&asked);
        let kept = all.into_iter().filter(|it| {
            let first = to(&files[0], it);
            first.is_some_and(|zone| zone != Zone::Router)
                && files.iter().all(|file| to(file, it) == first)
        });
        let (mut both, mut silent, mut flows) = (vec![], vec![], 0);
        for it in kept {
            for list in [&mut both, &mut silent] {
                list.push(Flow::new(&site.panel, &files[0].world, it, flows));
                flows += 1;
            }
        }
        let sentinels = site.sentinels();
        begin(&mut site.panel, &mut both, &sentinels);
        begin(&mut site.panel, &mut silent, &sentinels);
        let chance = Rng::with_seed(seed);
        let (before, now, tally) = (0, 0, Tally::default());
        Self {
            site,
            files,
            before,
            now,
            asked,
            let_by_some,
            kept: both,
            silent,
            flows,
            chance,
            tally,
        }
    }

    /// Sends some probes, preceded by a packet of every persistent flow.
    fn piece(&mut self, worlds: &[usize]) {
        let sentinels = self.site.sentinels();
        let panel = &mut self.site.panel;
        let kept = self.kept.iter_mut().flat_map(|flow| {
            let sides = [Side::Client, Side::Server];
            sides.map(|side| (flow.asked, side, flow.word(panel, side)))
        });
        let mut words: Vec<_> = kept.collect();
        let silent = self.silent.iter_mut();
        // It is not acknowledged, so the same segment is sent again.
        words.extend(silent.map(|it| (it.asked, Side::Server, it.again(panel, Side::Server))));
        let before = panel.recorded().len();
        for (_, _, word) in &words {
            panel.send(word.from, &word.frame).unwrap();
        }
        let is_told = |asked: &Asked| {
            worlds.iter().all(|index| blurred(&self.files[*index].world, *asked).is_none())
        };
        // Few of all probes are allowed, so every other one is chosen from those that some
        // configuration allows.
        let lists = [&self.asked, &self.let_by_some];
        let some = (0..AT_ONCE).filter_map(|number| self.chance.choice(lists[number % 2])).copied();
        let some: Vec<Asked> = some.filter(is_told).collect();
        let probes: Vec<_> = some.iter().map(|asked| probe(panel, *asked)).collect();
        let came = panel.sweep(&probes, &sentinels).unwrap();
        // This packet was not seen before.
        let seen = &panel.recorded()[before..];
        for (asked, side, word) in words {
            self.tally.kept += 1;
            if !word.came(seen) {
                let text = format!("to {}: what the {side:?} of {asked:?} said", self.now);
                self.tally.wrong.push(text);
            }
        }
        for flow in &mut self.kept {
            flow.is_there(Side::Server);
            flow.is_there(Side::Client);
        }
        for (asked, came) in some.into_iter().zip(came) {
            self.tally.probes += 1;
            self.tally.arrived += usize::from(came != ProbeOutcome::Dropped);
            let panel = &self.site.panel;
            let mut all = worlds.iter().map(|index| &self.files[*index].world);
            if all.any(|world| is_right(panel, world, asked, &came)) {
                continue;
            }
            let mut lines = worlds.iter().map(|index| line(&self.files[*index].world, asked));
            if came == ProbeOutcome::Dropped && worlds.len() > 1 && lines.any(|line| !is_kept(line))
            {
                self.tally.between += 1;
            } else {
                let (before, now) = (self.before, self.now);
                let text = format!("{before} to {now}, {worlds:?} lets: {asked:?} came {came:?}");
                self.tally.wrong.push(text);
            }
        }
    }

    /// Changes to configuration `next`. Returns the flows that it does not allow and of which a
    /// packet was delivered after it was in force.
    fn flip(&mut self, next: usize) -> Vec<String> {
        let old = std::mem::replace(&mut self.now, next);
        self.before = old;
        let worlds = [old, next].map(|index| self.files[index].world.clone());
        let is_quiet = |world: &World| quiet(&self.site.panel, world);
        let silent = worlds.iter().flat_map(is_quiet).collect();
        let sentinels = sentinels(&self.site.panel);
        let mut removed = self.removed(&worlds);
        begin(&mut self.site.panel, &mut removed, &sentinels);
        self.site.panel.quiet(silent);

        let panel = &self.site.panel;
        let words = removed.iter_mut().map(|flow| flow.again(panel, Side::Client));
        let frames = words.map(|word| (word.from, word.frame)).collect();
        let mut barrage = panel.repeat(frames);
        self.change(old, next);
        // The configuration is in force. The flows continue to send, and now send new data.
        let panel = &self.site.panel;
        let late: Vec<_> = removed
            .iter_mut()
            .map(|flow| [Side::Client, Side::Server].map(|side| flow.again(panel, side)))
            .collect();
        for word in late.iter().flatten() {
            panel.send(word.from, &word.frame).unwrap();
        }
        self.site.panel.quiet(quiet(&self.site.panel, &worlds[1]));
        self.piece(&[next]);
        self.site.panel.stop_barrage(&mut barrage, &sentinels).unwrap();
        let seen = self.site.panel.take_recorded();
        self.site.lives_by(worlds[1].clone());
        self.tally.ended += removed.len();
        let on = removed.iter().zip(&late).filter(|(flow, [client, server])| {
            // Another rule may forward the same port elsewhere now.
            let to = expected(&worlds[1], flow.asked).map(|zone| self.site.leg(zone));
            client.came_at(&seen).any(|leg| Some(leg) != to)
                || server.came_at(&seen).next().is_some()
        });
        on.map(|(flow, _)| format!("{old} to {next}: {:?}", flow.asked)).collect()
    }

    /// Makes the change, and sends probes until it is complete.
    fn change(&mut self, old: usize, next: usize) {
        let machine = Arc::clone(&self.site.machine);
        let text = self.files[next].text.clone();
        let done = Arc::new(AtomicBool::new(false));
        let is_done = Arc::clone(&done);
        let changing = spawn(move || {
            change(&machine, &text);
            is_done.store(true, Ordering::SeqCst);
        });
        let before = self.tally.probes;
        let mut pause = PACE;
        while !done.load(Ordering::SeqCst) && !changing.is_finished() {
            self.piece(&[old, next]);
            let until = Instant::now() + pause;
            while Instant::now() < until && !changing.is_finished() {
                sleep(RETRY_DELAY);
            }
            pause *= 2;
        }
        self.tally.during += self.tally.probes - before;
        changing.join().unwrap();
    }

    /// Some flows that the first world allows and the second does not; they are not started yet.
    fn removed(&mut self, [old, next]: &[World; 2]) -> Vec<Flow> {
        let mut all = playable(&self.asked);
        all.retain(|it| {
            let was = expected(old, *it);
            was.is_some_and(|zone| zone != Zone::Router) && expected(next, *it) != was
        });
        self.chance.shuffle(&mut all);
        all.truncate(8);
        let mut flow = |asked| {
            self.flows += 1;
            Flow::new(&self.site.panel, old, asked, self.flows)
        };
        all.into_iter().map(&mut flow).collect()
    }
}

/// In the short tier `net::settings` changes what a board has, and `segments::pairs` what a router
/// has, without traffic in between. In process, `netd/src/network/tests.rs` ends flows when rules
/// change, and `netd/src/plan/tests.rs` mends half a change.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn while_everybody_sends() {
    let seed = seed();
    println!("{COUNT} flips");
    let mut flips = Flips::start(None, seed);
    println!("{} + {} flows are kept", flips.kept.len(), flips.silent.len());
    let mut on = vec![];
    for number in 0..COUNT {
        on.extend(flips.flip(ORDER[number % ORDER.len()]));
    }
    let Tally { probes, during, arrived, between, kept, ended, wrong } = &flips.tally;
    println!(
        "{probes} probes, {during} of them during a change, {arrived} arrived, {between} were lost \
         between two lines; {kept} words of flows that \
         are kept, {ended} flows removed; {} are wrong",
        wrong.len()
    );
    let kernel = flips.site.machine.logs("kernel").unwrap();
    let full: Vec<_> = kernel.iter().filter(|line| line.contains("table full")).collect();
    println!("{} words about the table of flows: {:?}", full.len(), full.first());
    assert!(
        wrong.is_empty(),
        "{:#?}\n{}",
        &wrong[..wrong.len().min(40)],
        flips.site.machine.tail(30)
    );
    assert!(on.is_empty(), "these go on: {on:#?}");
    assert!(*during > 20 * COUNT && *ended > 2 * COUNT);
    // Only packets that the kernel handles at the very moment may be lost, and not all of a period.
    // (On a busy host the moment is longer.)
    assert!(*between <= COUNT, "{between} new flows were lost between two lines");
    let log = flips.site.machine.logs("netd").unwrap().join("\n");
    assert!(!log.contains("ALARM"), "{log}");
    policies::is_a_whole(&flips.site, BOARDS);
    drop(flips);

    // If flows are ended before the rules change, some start again in between.
    let mut reversed = Flips::start(Some("reversed"), seed);
    let on: Vec<_> = [1, 0].into_iter().flat_map(|next| reversed.flip(next)).collect();
    println!("flows before lines: of {} flows {} go on", reversed.tally.ended, on.len());
    assert!(!on.is_empty());
}
