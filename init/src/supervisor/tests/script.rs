//! The source of a test's choices: a list of numbers, so that a failing case shrinks to a short
//! list with small numbers.

use super::*;

/// The choices of one case. When they are used up, every choice is the first, which is the
/// simplest.
pub struct Script(std::vec::IntoIter<u16>);

impl Script {
    pub fn new(numbers: Vec<u16>) -> Self {
        Self(numbers.into_iter())
    }

    pub fn of_seed(seed: u64, length: usize) -> Self {
        let mut numbers = Jitter::new(seed);
        Self::new((0..length).map(|_| (numbers.draw() >> 48) as u16).collect())
    }

    pub fn is_over(&self) -> bool {
        self.0.len() == 0
    }

    pub fn draw(&mut self, choices: usize) -> usize {
        self.0.next().map_or(0, |number| usize::from(number) % choices)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.draw(from.len())]
    }

    /// True in one of `choices` cases.
    pub fn once_in(&mut self, choices: usize) -> bool {
        self.draw(choices) == choices - 1
    }

    /// One to six units of all kinds.
    pub fn units(&mut self) -> Vec<Settings> {
        let mut units: Vec<_> = (0..1 + self.draw(6)).map(|index| self.unit(index)).collect();
        if self.once_in(3) {
            let last = self.draw(units.len());
            units[last].stops_last = true;
        }
        units
    }

    fn unit(&mut self, index: usize) -> Settings {
        let earlier = |mask: usize| (0..index).filter(move |bit| mask >> bit & 1 == 1);
        let masks = 1 << index;
        let needs: Vec<usize> = earlier(self.draw(masks) & self.draw(masks)).collect();
        let mut settings = settings(&format!("u{index}"), &needs);
        let after = self.draw(masks) & self.draw(masks) & self.draw(masks);
        settings.after = earlier(after).map(UnitId).collect();
        (settings.unit_type, settings.readiness) = self.pick(&[
            (UnitType::Daemon, Readiness::Notify),
            (UnitType::Daemon, Readiness::Notify),
            (UnitType::Daemon, Readiness::Exec),
            (UnitType::Daemon, Readiness::Socket),
            (UnitType::OneShot, Readiness::Exit),
            (UnitType::Target, Readiness::Exit),
        ]);
        settings.policy =
            self.pick(&[RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never]);
        settings.base = self.draw(2) == 0;
        settings.start_timeout = self.pick(&[ms(10_000), ms(1_000)]);
        settings.stop_timeout = self.pick(&[ms(5_000), ms(20_000), ms(0)]);
        settings.delay = self.pick(&[ms(100), ms(0), ms(1_000)]);
        settings.max_delay = self.pick(&[ms(10_000), ms(300)]);
        settings.budget = self.pick(&[5, 1, 3, 0]);
        settings.window = self.pick(&[ms(30_000), ms(1_000)]);
        settings.watchdog = self.pick(&[None, Some(ms(2_000)), None]);
        settings.held = self.once_in(8).then(|| NOT_HERE.into());
        settings
    }
}
