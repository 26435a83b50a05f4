//! Rounds: every side runs in every round, in rotated order. A figure is the median of its rounds.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;

/// The number and the length of the rounds.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: usize,
    /// The time for one side in one round.
    pub time: Duration,
    pub is_quick: bool,
}

/// The result of one side in one round.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Messages or other units in a second.
    pub per_second: f64,
    /// The median time of one operation, in milliseconds.
    pub p50: f64,
    pub p99: f64,
    pub errors: u64,
}

pub type Run<'a> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Sample>> + 'a>> + 'a>;

/// One of the things that are compared in a round.
pub struct Side<'a> {
    pub name: String,
    pub run: Run<'a>,
}

impl<'a> Side<'a> {
    pub fn new<F>(name: impl Into<String>, run: impl Fn() -> F + 'a) -> Self
    where
        F: Future<Output = Result<Sample>> + 'a,
    {
        Self { name: name.into(), run: Box::new(move || Box::pin(run())) }
    }
}

/// Runs all sides in rotated order. Returns the median of each side.
pub async fn interleave(effort: Effort, sides: &[Side<'_>]) -> Result<Vec<Sample>> {
    let mut samples = vec![Vec::new(); sides.len()];
    for round in 0..effort.rounds {
        for place in 0..sides.len() {
            let side = (place + round) % sides.len();
            let sample = (sides[side].run)().await?;
            eprintln!(
                "  round {}/{} {:<44} {:>10.0} /s  p50 {:>8.3} ms  p99 {:>8.3} ms  errors {}",
                round + 1,
                effort.rounds,
                sides[side].name,
                sample.per_second,
                sample.p50,
                sample.p99,
                sample.errors
            );
            samples[side].push(sample);
        }
    }
    Ok(samples.iter().map(|samples| middle(samples)).collect())
}

fn middle(samples: &[Sample]) -> Sample {
    let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure).collect());
    Sample {
        per_second: of(|sample| sample.per_second),
        p50: of(|sample| sample.p50),
        p99: of(|sample| sample.p99),
        errors: samples.iter().map(|sample| sample.errors).sum(),
    }
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

/// Runs `workers` workers for a time. Each worker calls `each` repeatedly, with its own number and the number of the
/// operation. `each` returns the number of messages that it wrote.
pub async fn closed_loop<F>(
    workers: usize,
    time: Duration,
    each: impl Fn(usize, usize) -> F + Clone + Send + 'static,
) -> Result<Sample>
where
    F: Future<Output = Result<usize>> + Send,
{
    let begun = Instant::now();
    let tasks = (0..workers).map(|worker| {
        let each = each.clone();
        tokio::spawn(async move {
            let mut histogram = histogram()?;
            let (mut count, mut errors) = (0, 0);
            for number in 0.. {
                if begun.elapsed() >= time {
                    break;
                }
                let started = Instant::now();
                match each(worker, number).await {
                    Ok(done) => count += done,
                    Err(error) => {
                        if errors == 0 {
                            eprintln!("  error: {error:#}");
                        }
                        errors += 1;
                    }
                }
                histogram.saturating_record(started.elapsed().as_micros() as u64);
            }
            Ok::<_, anyhow::Error>((count, errors, histogram))
        })
    });
    let mut all = histogram()?;
    let (mut count, mut errors) = (0, 0);
    for finished in try_join_all(tasks).await? {
        let (done, failed, histogram) = finished?;
        count += done;
        errors += failed;
        all.add(histogram)?;
    }
    let per_second = count as f64 / begun.elapsed().as_secs_f64();
    Ok(Sample { per_second, p50: milliseconds(&all, 0.5), p99: milliseconds(&all, 0.99), errors })
}

pub fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

pub fn milliseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1000.0
}
