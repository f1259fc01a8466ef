//! Windows at times of our own.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn cells(algorithm: Algorithm) -> Cells {
    Cells::new(&QuotaLimit {
        name: "q".into(),
        max_amount: 0,
        valid_duration: SECOND,
        algorithm,
        overrides: vec![],
        min_deduplication: SECOND,
    })
}

fn of(max_amount: u64, valid_duration: Duration) -> Allocation<'static> {
    Allocation { key: b"q", amount: 1, best_effort: false, max_amount, valid_duration, deduplication: None }
}

fn taken(cells: &Cells, tries: usize, allocation: &Allocation<'_>, now: Instant) -> u64 {
    (0..tries).map(|_| cells.allocate(allocation, now).amount).sum()
}

#[test]
fn exactly_the_limit_passes_in_each_window() {
    for algorithm in [Algorithm::RollingWindow, Algorithm::FixedWindow] {
        let (cells, start) = (cells(algorithm), Instant::now());
        for second in 0..5 {
            let now = start + SECOND * second;
            assert_eq!(taken(&cells, 600, &of(500, SECOND), now), 500, "{algorithm:?} {second}");
            assert_eq!(taken(&cells, 600, &of(500, SECOND), now + Duration::from_millis(999)), 0, "{algorithm:?}");
        }
    }
}

#[test]
fn a_fixed_window_begins_with_its_first_charge_and_may_pass_twice_the_limit_at_its_end() {
    let (cells, start) = (cells(Algorithm::FixedWindow), Instant::now());
    let at = |millis| start + Duration::from_millis(millis);
    assert_eq!(taken(&cells, 1, &of(5, SECOND), at(700)), 1);
    assert_eq!(taken(&cells, 9, &of(5, SECOND), at(1_600)), 4);
    assert_eq!(taken(&cells, 9, &of(5, SECOND), at(1_700)), 5);
}

#[test]
fn a_window_of_no_length_is_a_counter_that_is_given_back() {
    let (cells, start) = (cells(Algorithm::RollingWindow), Instant::now());
    let counter = of(3, Duration::ZERO);
    assert_eq!(taken(&cells, 9, &counter, start), 3);
    assert_eq!(taken(&cells, 9, &counter, start + SECOND * 1_000_000), 0);
    cells.allocate(&Allocation { amount: -2, ..counter }, start);
    assert_eq!(taken(&cells, 9, &counter, start), 2);
}

#[test]
fn what_is_given_back_is_the_newest() {
    let (cells, start) = (cells(Algorithm::RollingWindow), Instant::now());
    let limit = of(4, SECOND);
    assert_eq!(taken(&cells, 2, &limit, start), 2);
    let later = start + SECOND / 2;
    assert_eq!(taken(&cells, 2, &limit, later), 2);
    cells.allocate(&Allocation { amount: -3, ..limit }, later);
    assert_eq!(taken(&cells, 9, &limit, later), 3);
    assert_eq!(taken(&cells, 9, &limit, start + SECOND), 1, "only one of the first two was still counted");
}

#[test]
fn best_effort_takes_what_is_left() {
    let (cells, start) = (cells(Algorithm::RollingWindow), Instant::now());
    let limit = Allocation { amount: 7, best_effort: true, ..of(10, SECOND) };
    let amounts: Vec<_> = (0..3).map(|_| cells.allocate(&limit, start).amount).collect();
    assert_eq!(amounts, [7, 3, 0]);
    let all = Allocation { best_effort: false, key: b"other", ..limit };
    assert_eq!((cells.allocate(&all, start).amount, cells.allocate(&all, start).amount), (7, 0));
}

#[test]
fn the_same_id_takes_once_within_the_deduplication_time() {
    let (cells, start) = (cells(Algorithm::RollingWindow), Instant::now());
    let one = |id, now| cells.allocate(&Allocation { deduplication: Some(id), ..of(2, SECOND * 3_600) }, now).amount;
    assert_eq!((one("a", start), one("a", start + SECOND / 2)), (1, 1));
    assert_eq!(one("a", start + SECOND + SECOND / 2), 1, "known for one tick at least");
    assert_eq!(one("b", start + SECOND + SECOND / 2), 1, "the second one");
    assert_eq!(one("c", start + SECOND + SECOND / 2), 0);
    assert_eq!(one("b", start + SECOND * 2), 1);
    assert_eq!(one("a", start + SECOND * 5), 0, "and for two at the most");
}

#[test]
fn windows_are_whole_seconds_in_memquota() {
    let (cells, start) = (cells(Algorithm::RollingWindow), Instant::now());
    let limit = of(1, Duration::from_millis(1_200));
    assert_eq!(taken(&cells, 2, &limit, start), 1);
    assert_eq!(taken(&cells, 2, &limit, start + Duration::from_millis(1_999)), 0);
    assert_eq!(taken(&cells, 2, &limit, start + SECOND * 2), 1);
}

#[test]
fn callers_who_choose_their_dimensions_do_not_fill_the_memory() {
    let (cells, start) = (cells(Algorithm::RollingWindow), Instant::now());
    let ask = |number: usize, now| {
        let key = number.to_le_bytes();
        cells.allocate(&Allocation { key: &key, ..of(1, SECOND) }, now).amount
    };
    assert_eq!((0..MOST_CELLS).map(|number| ask(number, start)).sum::<u64>(), MOST_CELLS as u64);
    assert_eq!((0..1_000).map(|number| ask(MOST_CELLS + number, start)).sum::<u64>(), 1, "the rest share a cell");
    assert!(cells.inner.lock().unwrap().cells.len() <= MOST_CELLS + 1);
    let later = start + SECOND;
    assert_eq!((0..1_000).map(|number| ask(2 * MOST_CELLS + number, later)).sum::<u64>(), 1_000);
    assert!(cells.inner.lock().unwrap().cells.len() <= 2_000, "what no longer counts is dropped");
}

proptest! {
    #[test]
    fn no_span_of_a_windows_length_has_more_than_the_limit(
        max in 0u64..20,
        steps in prop::collection::vec((0u64..300_000_000, 1i64..4), 1..200),
    ) {
        let (cells, start) = (cells(Algorithm::RollingWindow), Instant::now());
        let (mut now, mut granted) = (start, Vec::new());
        for (step, amount) in steps {
            now += Duration::from_nanos(step);
            let got = cells.allocate(&Allocation { amount, ..of(max, SECOND) }, now).amount;
            prop_assert!(got == 0 || got == amount.unsigned_abs());
            granted.push((now, got));
            let within: u64 =
                granted.iter().filter(|(at, _)| now - *at < SECOND).map(|(_, amount)| amount).sum();
            prop_assert!(within <= max, "{within} > {max}");
        }
    }

    #[test]
    fn hostile_numbers_do_no_harm(
        max: u64, amount: i64, best_effort: bool, secs: u64, nanos in 0u32..1_000_000_000, step in 0u64..u64::MAX / 4,
        fixed: bool,
    ) {
        let cells = cells(if fixed { Algorithm::FixedWindow } else { Algorithm::RollingWindow });
        let start = Instant::now();
        let allocation = Allocation { amount, best_effort, ..of(max, Duration::new(secs, nanos)) };
        for now in [start, start.checked_add(Duration::from_nanos(step)).unwrap_or(start), start] {
            for deduplication in [None, Some("id")] {
                let granted = cells.allocate(&Allocation { deduplication, ..allocation }, now).amount;
                prop_assert!(granted <= max && granted <= amount.unsigned_abs());
            }
        }
    }
}
