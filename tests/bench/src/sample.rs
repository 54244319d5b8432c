//! Several measurements of one thing.

use std::time::Duration;

/// Measurements of one length of time.
#[derive(Debug, Clone, Default)]
pub struct TimeSample(Vec<Duration>);

impl TimeSample {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
        self.0.sort_unstable();
    }

    /// The middle one, in seconds; of an even number, the mean of the middle two. 0 of none.
    pub fn median(&self) -> f64 {
        let seconds = |at: usize| self.0.get(at).map_or(0.0, Duration::as_secs_f64);
        let half = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) {
            f64::midpoint(seconds(half.saturating_sub(1)), seconds(half))
        } else {
            seconds(half)
        }
    }

    /// The shortest that is not shorter than this part of them all, such as 0.99, in seconds. 0 of none.
    pub fn at(&self, part: f64) -> f64 {
        let place = (self.0.len() as f64 * part).ceil() as usize;
        self.0.get(place.saturating_sub(1)).map_or(0.0, Duration::as_secs_f64)
    }

    /// The shortest and the longest, in seconds.
    pub fn range(&self) -> (f64, f64) {
        let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
        (seconds(self.0.first()), seconds(self.0.last()))
    }
}

impl<const N: usize> From<[u64; N]> for TimeSample {
    /// Of milliseconds.
    fn from(milliseconds: [u64; N]) -> Self {
        let mut sample = Self::default();
        milliseconds.into_iter().for_each(|ms| sample.add(Duration::from_millis(ms)));
        sample
    }
}

/// The middle one of some numbers; of an even number of them, the mean of the middle two. None have no middle.
pub fn middle(of: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = of.collect();
    all.sort_unstable_by(f64::total_cmp);
    let of_two = [all.len().saturating_sub(1) / 2, all.len() / 2];
    let [low, high] = of_two.map(|at| all.get(at).copied().unwrap_or(f64::NAN));
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_numbers() {
        assert_eq!(middle([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(middle([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(middle(std::iter::empty()).is_nan());
    }

    #[test]
    fn the_middle_whatever_the_order() {
        assert!((TimeSample::from([3000, 1000, 2000]).median() - 2.0).abs() < 1e-9);
        assert!((TimeSample::from([4000, 1000, 2000, 3000]).median() - 2.5).abs() < 1e-9);
        assert_eq!(TimeSample::from([3000, 1000]).range(), (1.0, 3.0));
        assert_eq!(TimeSample::default().median(), 0.0);
    }

    #[test]
    fn a_part_of_all() {
        let all = TimeSample::from([5000, 1000, 2000, 4000, 3000]);
        assert_eq!([0.0, 0.2, 0.5, 0.99, 1.0].map(|part| all.at(part)), [1.0, 1.0, 3.0, 5.0, 5.0]);
        assert_eq!(TimeSample::default().at(0.99), 0.0);
    }
}
