//! The live demo: traffic, a table a second, a summary.

use std::fs;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::load::{Load, LoadOptions, Visits};
use crate::report::{LiveTable, Verdict, places, summary, table};
use crate::{Bookinfo, BoxError};

/// Runs until the time is over, or Ctrl-C; then drains, prints the summary and says whether all is well.
///
/// # Errors
/// The load cannot be started.
pub async fn run(bookinfo: Bookinfo, args: &Args) -> Result<Verdict, BoxError> {
    println!("{}", places(&bookinfo));
    let at_start = fs::read_to_string(bookinfo.folder().reviews()).ok();
    let mut edited = false;
    let (load, mut received) = Load::start(&bookinfo, LoadOptions { rate: args.rate, clients: args.clients }).await?;
    let started = Instant::now();
    let mut visits = Visits::default();
    let mut live = LiveTable::default();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let mut drawn = started;
    let end = async {
        match args.run_for {
            Some(span) => tokio::time::sleep(span).await,
            None => std::future::pending().await,
        }
    };
    let mut end = std::pin::pin!(end);
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            () = &mut end => break,
            _ = &mut interrupt => break,
            Some(visit) = received.recv() => visits.add(visit),
            _ = ticks.tick() => {
                live.draw(&table(&bookinfo.ledger().take_window(), drawn.elapsed()));
                drawn = Instant::now();
                edited |= fs::read_to_string(bookinfo.folder().reviews()).ok() != at_start;
            }
        }
    }
    let span = started.elapsed();
    load.stop().await;
    while let Some(visit) = received.recv().await {
        visits.add(visit);
    }
    edited |= fs::read_to_string(bookinfo.folder().reviews()).ok() != at_start;
    let (text, verdict) = summary(bookinfo.ledger(), &visits, at_start.as_deref().filter(|_| !edited), span);
    bookinfo.stop().await;
    println!("{text}");
    Ok(verdict)
}
