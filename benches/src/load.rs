//! A closed loop of callers, optionally paced, and what it measures.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// What one leg measured.
#[derive(Clone, Debug)]
pub struct Measured {
    pub requests: u64,
    pub errors: u64,
    pub seconds: f64,
    pub p50_us: u64,
    pub p99_us: u64,
}

/// Runs `callers` loops for `warm_up` and then `length`. Each makes its own state and sends one request after the
/// other; with `rate`, requests start on a common schedule.
pub async fn run<C, F, Call>(
    callers: usize,
    rate: Option<f64>,
    warm_up: Duration,
    length: Duration,
    make: impl Fn() -> C,
) -> Measured
where
    C: FnMut() -> F + Send + 'static,
    F: Future<Output = Call> + Send,
    Call: Into<bool>,
{
    let ticket = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let (from, until) = (begin + warm_up, begin + warm_up + length);
    let mut tasks = Vec::new();
    for _ in 0..callers {
        let mut call = make();
        let ticket = Arc::clone(&ticket);
        tasks.push(tokio::spawn(async move {
            let mut latency = Histogram::<u64>::new(3).unwrap_or_else(|error| panic!("{error}"));
            let mut errors = 0u64;
            loop {
                let mut start = Instant::now();
                if let Some(rate) = rate {
                    #[allow(clippy::cast_precision_loss, reason = "a count of requests fits")]
                    let due = begin + Duration::from_secs_f64(ticket.fetch_add(1, Ordering::Relaxed) as f64 / rate);
                    tokio::time::sleep_until(due.into()).await;
                    start = due;
                }
                if start >= until {
                    return (latency, errors);
                }
                let ok: bool = call().await.into();
                if start >= from {
                    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                    latency.saturating_record(micros);
                    errors += u64::from(!ok);
                }
            }
        }));
    }
    let mut all = Histogram::<u64>::new(3).unwrap_or_else(|error| panic!("{error}"));
    let mut errors = 0;
    for task in tasks {
        if let Ok((latency, failed)) = task.await {
            let _ = all.add(&latency);
            errors += failed;
        }
    }
    Measured {
        requests: all.len(),
        errors,
        seconds: length.as_secs_f64(),
        p50_us: all.value_at_quantile(0.5),
        p99_us: all.value_at_quantile(0.99),
    }
}
