//! A box: its disk, the process with the configurations, and a unit that reads them.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use octet_appliance::SettingsSection;
use octet_config::keeper::{CommandOutcome, ConfigCommand, Keeper, Readers};
use octet_config::settings::{FILE, Settings};
use octet_config::start::choose;
use octet_config::store::ConfigStore;
use octet_node::control::{By, Failure, FailureCode};

use crate::disk::Disk;

/// The image's configuration.
pub const IMAGE: &str = "[appliance]\nname = \"image\"\n[image]\npackages = []\ndrivers = []\n\
                         modules = []\nservices = []\n";

type OnDisk = Keeper<Disk, Unit>;

/// The unit, which reads the name of the appliance.
#[derive(Clone)]
pub struct Unit {
    disk: Disk,
    keeper: Arc<OnceLock<Weak<OnDisk>>>,
    state: Arc<Mutex<UnitState>>,
}

#[derive(Default)]
pub struct UnitState {
    /// The text that it has applied.
    pub has: String,
    /// Whether it refuses the next configuration that it is asked about.
    pub refuses: bool,
    /// Whether it fails to apply the next configuration.
    pub breaks: bool,
    /// The last text that it has accepted.
    accepted: String,
    /// Texts that it had to apply without having been asked, other than the previous one.
    pub surprises: Vec<String>,
    before: String,
}

impl Readers for Unit {
    fn check(&self, _: &[SettingsSection]) -> Result<Vec<String>, Failure> {
        let alive = self.disk.step();
        let mut state = self.state.lock().unwrap();
        let next = self.keeper().view().candidate.expect("something is to come");
        if !alive || std::mem::take(&mut state.refuses) {
            return Err(failure());
        }
        state.accepted = next.settings.text.clone();
        Ok(vec![])
    }

    fn apply(&self, _: &[SettingsSection]) -> Result<(), Failure> {
        if !self.disk.step() {
            return Err(failure());
        }
        let mut state = self.state.lock().unwrap();
        let now = self.keeper().view().in_force.settings.text.clone();
        if now != state.has && now != state.accepted && now != state.before {
            state.surprises.push(now.clone());
        }
        if std::mem::take(&mut state.breaks) {
            return Err(failure());
        }
        if now != state.has {
            state.before = std::mem::replace(&mut state.has, now);
        }
        Ok(())
    }
}

impl Unit {
    fn keeper(&self) -> Arc<OnDisk> {
        self.keeper.get().and_then(Weak::upgrade).expect("config runs")
    }
}

fn failure() -> Failure {
    Failure::new(FailureCode::Failed, "no", "")
}

pub struct World {
    pub disk: Disk,
    pub unit: Arc<Mutex<UnitState>>,
    pub now: Instant,
    keeper: Arc<OnDisk>,
}

impl World {
    /// A new box.
    pub fn new() -> Self {
        let (disk, unit) = (Disk::default(), Arc::<Mutex<UnitState>>::default());
        unit.lock().unwrap().has = IMAGE.to_owned();
        let keeper = start(&disk, &unit);
        Self { disk, unit, now: Instant::now(), keeper }
    }

    /// Kills the process or cuts the power, and starts again.
    pub fn start_again(&mut self) {
        self.disk.power();
        {
            let mut unit = self.unit.lock().unwrap();
            (unit.refuses, unit.breaks) = (false, false);
            // The text that it applied before the restart counts as the previous one.
            unit.before = unit.has.clone();
        }
        self.keeper = start(&self.disk, &self.unit);
        let in_force = self.in_force();
        self.unit.lock().unwrap().accepted = in_force;
        self.keeper.start();
    }

    pub fn apply(&self, text: &str, seconds: u64) -> Result<CommandOutcome, Failure> {
        self.wish(Settings::parse(FILE, text.to_owned(), IMAGE).unwrap(), seconds, None)
    }

    pub fn apply_as(&self, text: &str, sequence: u64) -> Result<CommandOutcome, Failure> {
        self.wish(Settings::parse(FILE, text.to_owned(), IMAGE).unwrap(), 60, Some(sequence))
    }

    fn wish(
        &self,
        settings: Settings,
        seconds: u64,
        sequence: Option<u64>,
    ) -> Result<CommandOutcome, Failure> {
        let confirm = Duration::from_secs(seconds);
        let (by, signed, again, taken) = (Some(By::Port), None, None, 0);
        let wish =
            ConfigCommand { settings, by, signed, sequence, repeats: again, time: taken, confirm };
        self.keeper.apply(wish, self.now)
    }

    pub fn confirm(&self) -> Result<u64, Failure> {
        self.keeper.confirm(Some(By::Port))
    }

    pub fn take_back(&self) -> Option<u64> {
        self.keeper.rollback(Some(By::Port), None).unwrap()
    }

    pub fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.keeper.tick(self.now);
    }

    /// Runs the timer and the queries, which can occur at any time.
    pub fn look(&self) {
        self.keeper.tick(self.now);
        self.keeper.store().confirmed();
    }

    pub fn in_force(&self) -> String {
        self.keeper.view().in_force.settings.text.clone()
    }

    pub fn next_number(&self) -> u64 {
        self.keeper.view().next_sequence
    }

    pub fn notes(&self) -> Vec<String> {
        self.keeper.view().warnings
    }
}

fn start(disk: &Disk, unit: &Arc<Mutex<UnitState>>) -> Arc<OnDisk> {
    let (store, notes) = ConfigStore::open(disk.clone()).unwrap();
    let image =
        || Settings::parse(FILE, IMAGE.to_owned(), IMAGE).map_err(|error| error.to_string());
    let chosen = choose(&store, image, || IMAGE.to_owned()).unwrap();
    let unit = Unit { disk: disk.clone(), keeper: Arc::default(), state: unit.clone() };
    let keeper = Arc::new(Keeper::new(store, notes, chosen, unit.clone()));
    unit.keeper.set(Arc::downgrade(&keeper)).unwrap();
    keeper
}
