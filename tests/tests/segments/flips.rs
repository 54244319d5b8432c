//! A router that is told something else again and again, while everybody sends without a pause: at every
//! moment it lets what the old file lets or what the new one lets, what both let arrives, and of flows
//! those go on that the new one lets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fastrand::Rng;
use octet_evaluator::{Probe as Asked, Traffic, Version, World, Zone};
use octet_machine::panel::switchboard::Came;
use octet_tests::soak;

use crate::change::{change, quiet};
use crate::flows::{Flow, Side, begin};
use crate::site::{Site, probe, sentinels, text, world};
use crate::sweep::{blurred, expected, is_right, pairs};

/// In every file.
const KEPT: &str = r#"
[[policy]]
from = "board-1"
to = ["board-2", "uplink"]
protocol = "udp"
ports = [6000, "6010-6015"]

[[policy]]
from = ["board-1", "uplink"]
to = "board-2"
protocol = "tcp"
ports = [6001]

[[policy]]
from = "board-4"
to = "uplink"
protocol = "tcp"
ports = [6001]

[[policy]]
from = "boards"
to = "board-3"
protocol = "icmp"

[[publish]]
port = "udp/444"
to = "board-2"
at = "udp/6000"
"#;

const ONE: &str = r#"
[[policy]]
from = ["board-1", "lan"]
to = ["board-3", "board-4"]
protocol = "tcp"
ports = ["7000-7002"]

[[policy]]
from = ["board-2", "lan"]
to = ["uplink", "board-1"]
protocol = "udp"
ports = [7000]

[[policy]]
from = "uplink"
to = "board-4"
protocol = "tcp"
ports = [7001]

[[policy]]
from = "board-3"
to = ["router", "board-1"]
protocol = 47

[[publish]]
port = "tcp/443"
to = "board-2"
at = "tcp/8443"

[[publish]]
port = "udp/443"
to = "board-4"
at = "udp/8443"
"#;

const OTHER: &str = r#"
[[policy]]
from = "board-3"
to = ["board-1", "uplink"]
protocol = "tcp"
ports = ["7000-7002"]

[[policy]]
from = ["board-4", "uplink"]
to = ["board-1", "router"]
protocol = "udp"
ports = [7000]

[[policy]]
from = "lan"
to = ["boards", "uplink"]
protocol = "icmp"

[[policy]]
from = "board-2"
to = "lan"
protocol = "tcp"
ports = [7001]

[[publish]]
port = "tcp/443"
to = "board-3"
at = "tcp/8443"
"#;

/// Without `[lan]`. Somebody outside is let what `lan` was let before.
const ALONE: &str = r#"
[[policy]]
from = ["board-3", "uplink"]
to = ["board-1", "board-4"]
protocol = "udp"
ports = [7000]

[[policy]]
from = "uplink"
to = ["board-3", "board-4"]
protocol = "tcp"
ports = ["7000-7002"]
"#;

/// In this order, and then again.
const ORDER: [usize; 6] = [1, 0, 2, 1, 2, 0];

/// How many probes are under way between two looks at all flows.
const AT_ONCE: usize = 100;

/// What a file says.
struct File {
    text: String,
    world: World,
}

fn files() -> [File; 3] {
    let file = |text: String| File { world: world(&text), text };
    let both = |lines: &str| text(4, &format!("{KEPT}{lines}"));
    [file(both(ONE)), file(both(OTHER)), file(both(ALONE).replacen("[lan]\n", "", 1))]
}

/// What probes ask for: all pairs, the edges of all lines. The router answers few echo requests.
fn asked(files: &[File]) -> Vec<Asked> {
    let mut traffic: Vec<_> = files.iter().flat_map(|file| file.world.worth_a_probe()).collect();
    traffic.sort_unstable();
    traffic.dedup();
    let mut asked = pairs(&files[0].world.zones(), &traffic);
    asked.retain(|(_, to, what, _)| *to != Zone::Router || *what != Traffic::Ping);
    asked
}

/// Flows that can be played: one for each pair of zones and kind of line.
fn playable(asked: &[Asked]) -> Vec<Asked> {
    let ports = [443, 444, 6000, 6001, 7000, 7001];
    let is_playable = |(_, _, what, _): &&Asked| match what {
        Traffic::Tcp(port) | Traffic::Udp(port) => ports.contains(port),
        _ => false,
    };
    asked.iter().filter(is_playable).copied().collect()
}

/// What was seen of all flips.
#[derive(Debug, Default)]
struct Tally {
    probes: usize,
    during: usize,
    arrived: usize,
    kept: usize,
    ended: usize,
    wrong: Vec<String>,
}

/// A router, the files that it is given, and flows that all of them let.
struct Flips {
    site: Site,
    files: [File; 3],
    before: usize,
    now: usize,
    asked: Vec<Asked>,
    let_by_some: Vec<Asked>,
    /// Both ends of these speak.
    kept: Vec<Flow>,
    /// Of these only the server does: if one is ended, nothing begins it again.
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

    /// Some probes, with a word on every flow that is kept before them.
    fn piece(&mut self, worlds: &[usize]) {
        let sentinels = self.site.sentinels();
        let panel = &mut self.site.panel;
        let kept = self.kept.iter_mut().flat_map(|flow| {
            let sides = [Side::Client, Side::Server];
            sides.map(|side| (flow.asked, side, flow.word(panel, side)))
        });
        let mut words: Vec<_> = kept.collect();
        let silent = self.silent.iter_mut();
        // Nobody says that he has it, so it is said again.
        words.extend(silent.map(|it| (it.asked, Side::Server, it.again(panel, Side::Server))));
        for (_, _, word) in &words {
            panel.send(word.from, &word.frame).unwrap();
        }
        // A new address of IPv6 is the router's once nobody has said that it is his.
        let had = |asked: &Asked| {
            let is_new = asked.1 == Zone::Router && !self.files[self.before].world.has(asked.0);
            !is_new || asked.3 == Version::V4
        };
        let is_told = |asked: &Asked| {
            had(asked)
                && worlds.iter().all(|index| blurred(&self.files[*index].world, *asked).is_none())
        };
        // Little of all is let: every other probe is one that some file lets.
        let lists = [&self.asked, &self.let_by_some];
        let some = (0..AT_ONCE).filter_map(|number| self.chance.choice(lists[number % 2])).copied();
        let some: Vec<Asked> = some.filter(is_told).collect();
        let probes: Vec<_> = some.iter().map(|asked| probe(panel, *asked)).collect();
        let came = panel.sweep(&probes, &sentinels).unwrap();
        let seen = panel.recorded();
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
            self.tally.arrived += usize::from(came != Came::Nowhere);
            let panel = &self.site.panel;
            let mut all = worlds.iter().map(|index| &self.files[*index].world);
            if !all.any(|world| is_right(panel, world, asked, &came)) {
                let (before, now) = (self.before, self.now);
                let text = format!("{before} to {now}, {worlds:?} lets: {asked:?} came {came:?}");
                self.tally.wrong.push(text);
            }
        }
    }

    /// Gives the router file `next`. Returns of how many flows that it does not let something was
    /// delivered after it was lived with.
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
        // It is lived with. They still send, and now something that was not said before.
        let panel = &self.site.panel;
        let late: Vec<_> = removed
            .iter_mut()
            .map(|flow| [Side::Client, Side::Server].map(|side| flow.again(panel, side)))
            .collect();
        for word in late.iter().flatten() {
            panel.send(word.from, &word.frame).unwrap();
        }
        self.piece(&[next]);
        self.site.panel.cease(&mut barrage, &sentinels).unwrap();
        let seen = self.site.panel.take_recorded();
        self.site.lives_by(worlds[1].clone());
        self.tally.ended += removed.len();
        let on = removed.iter().zip(&late).filter(|(flow, [client, server])| {
            // By another line the same port may lead somewhere else now.
            let to = expected(&worlds[1], flow.asked).map(|zone| self.site.leg(zone));
            client.came_at(&seen).any(|leg| Some(leg) != to)
                || server.came_at(&seen).next().is_some()
        });
        on.map(|(flow, _)| format!("{old} to {next}: {:?}", flow.asked)).collect()
    }

    /// Has the change made, and sends all the time until it is.
    fn change(&mut self, old: usize, next: usize) {
        let machine = Arc::clone(&self.site.machine);
        let text = self.files[next].text.clone();
        let done = Arc::new(AtomicBool::new(false));
        let is_done = Arc::clone(&done);
        let changing = thread::spawn(move || {
            change(&machine, &text);
            is_done.store(true, Ordering::SeqCst);
        });
        let before = self.tally.probes;
        while !done.load(Ordering::SeqCst) && !changing.is_finished() {
            self.piece(&[old, next]);
        }
        self.tally.during += self.tally.probes - before;
        changing.join().unwrap();
    }

    /// Some flows that the first world lets and the second does not, not begun.
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

#[test]
fn while_everybody_sends() {
    let seed = fastrand::u64(..);
    let count = if soak() { 500 } else { 12 };
    println!("{count} flips, seed {seed}");
    let mut flips = Flips::start(None, seed);
    println!("{} + {} flows are kept", flips.kept.len(), flips.silent.len());
    let mut on = vec![];
    for number in 0..count {
        on.extend(flips.flip(ORDER[number % ORDER.len()]));
    }
    let Tally { probes, during, arrived, kept, ended, wrong } = &flips.tally;
    println!(
        "{probes} probes, {during} of them during a change, {arrived} arrived; {kept} words of flows that \
         are kept, {ended} flows removed; {} are wrong",
        wrong.len()
    );
    assert!(
        wrong.is_empty(),
        "{:#?}\n{}",
        &wrong[..wrong.len().min(40)],
        flips.site.machine.tail(30)
    );
    assert!(on.is_empty(), "these go on: {on:#?}");
    assert!(*during > 20 * count && *ended > 2 * count);
    drop(flips);

    // With flows ended before lines, some begin again in between.
    let mut reversed = Flips::start(Some("reversed"), seed);
    let on: Vec<_> = [1, 0].into_iter().flat_map(|next| reversed.flip(next)).collect();
    println!("flows before lines: of {} flows {} go on", reversed.tally.ended, on.len());
    assert!(!on.is_empty());
}
