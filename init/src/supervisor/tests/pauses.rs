//! Restart delays and budgets, with exact times.

use super::*;

#[test]
fn chance_reaches_the_whole_width() {
    let mut jitter = Jitter::new(0);
    let settings = settings("a", &[]);
    let mut pause = |_| {
        let pause = Backoff::default().next_delay(&settings, jitter.draw(), Moment::ZERO);
        pause.map_or(0, |pause| pause.as_micros())
    };
    let mut pauses: Vec<u128> = (0..10_000).map(&mut pause).collect();
    pauses.sort_unstable();
    assert_eq!((pauses[0], pauses[9_999]), (75_000, 125_000));
    assert!((98_000..102_000).contains(&pauses[5_000]), "not even: {}", pauses[5_000]);
}

#[test]
fn a_restart_counts_for_as_long_as_the_window() {
    let settings = settings("a", &[]);
    let mut backoff = Backoff::default();
    for second in 0..5 {
        assert!(backoff.next_delay(&settings, 0, Duration::from_secs(second)).is_some());
    }
    assert_eq!(backoff.next_delay(&settings, 0, Duration::from_secs(30)), None, "the first counts");
    let later = Duration::from_millis(30_001);
    assert!(backoff.next_delay(&settings, 0, later).is_some(), "the first is forgotten");
    assert_eq!(backoff.next_delay(&settings, 0, later), None, "the second is not");
}
