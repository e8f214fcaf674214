//! `cargo local bench`: what forwarding costs, as a table.

use std::{path::PathBuf, process::ExitCode, str::FromStr, time::Duration};

use anyhow::Context;
use ses_forwarder_local_trials::bench::{Cost, Measured, Phase, Start, check, measure};

/// What `bench` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A message's bytes and how many of them, `SIZE:COUNT`; can be given several times.
    #[arg(long = "size", value_name = "SIZE:COUNT")]
    sizes: Vec<Size>,
    /// Milliseconds that each call to AWS takes longer.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    latency: u64,
    /// Rounds; medians over all of them are shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// A binary to measure instead of the one built from here.
    #[arg(long, value_name = "BINARY")]
    binary: Option<PathBuf>,
    /// Another binary, measured in turn with the first.
    #[arg(long, value_name = "BINARY")]
    compare: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy)]
struct Size(Phase);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
        let parsed = text.split_once(':').and_then(|(size, count)| Some((number(size)?, number(count)?)));
        let (size, count) = parsed.ok_or("expected SIZE:COUNT, such as 8192:200")?;
        Ok(Size(Phase { size, count }))
    }
}

/// Measures and prints.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // Before a build that takes minutes.
    check()?;
    let own = match arguments.binary {
        Some(binary) => binary,
        None => ses_forwarder_local_stack::built("handle-email").await.context("can't build handle-email")?,
    };
    let mut phases: Vec<_> = arguments.sizes.iter().map(|size| size.0).collect();
    if phases.is_empty() {
        let usual = [(8 << 10, 300), (1 << 20, 30), (10 << 20, 10), (30_000_000, 5), (40_894_464, 5)];
        phases = usual.map(|(size, count)| Phase { size, count }).to_vec();
    }
    let latency = Duration::from_millis(arguments.latency);
    let binaries: Vec<_> = std::iter::once(own).chain(arguments.compare).collect();
    let mut measured = vec![Vec::new(); binaries.len()];
    for _ in 0..arguments.rounds.max(1) {
        for (binary, measured) in binaries.iter().zip(&mut measured) {
            measured.push(measure(binary, latency, &phases).await?);
        }
    }
    for (binary, rounds) in binaries.iter().zip(&measured) {
        println!("{}", binary.display());
        print!("{}", table(&phases, rounds));
    }
    Ok(ExitCode::SUCCESS)
}

/// One line for the start, one for each size.
fn table(phases: &[Phase], rounds: &[Measured]) -> String {
    let starts: Vec<Start> = rounds.iter().map(|round| round.start).collect();
    let wall = median(starts.iter().map(|start| start.wall));
    let cpu = median(starts.iter().filter_map(|start| start.cpu));
    let mut lines = format!(
        "{:>12} {:>8} {:>10} {:>10} {:>8} {:>10}\n{:>12} {:>8} {:>10} {:>10}\n",
        "bytes",
        "messages",
        "median ms",
        "CPU ms",
        "calls",
        "peak MB",
        "start",
        "",
        milliseconds(wall),
        milliseconds(cpu)
    );
    for (at, phase) in phases.iter().enumerate() {
        let costs: Vec<&Cost> = rounds.iter().filter_map(|round| round.costs.get(at)).collect();
        let wall = median(costs.iter().map(|cost| cost.median()));
        let cpu = median(costs.iter().filter_map(|cost| cost.cpu));
        let peak = costs.iter().filter_map(|cost| cost.peak).max();
        let calls = costs.iter().map(|cost| cost.calls).fold(0.0, f64::max);
        lines += &format!(
            "{:>12} {:>8} {:>10} {:>10} {calls:>8.1} {:>10}\n",
            phase.size,
            phase.count * rounds.len(),
            milliseconds(wall),
            milliseconds(cpu),
            peak.map_or("-".to_owned(), |peak| format!("{:.1}", peak as f64 / 1e6)),
        );
    }
    lines
}

fn median(durations: impl Iterator<Item = Duration>) -> Option<Duration> {
    let mut durations: Vec<_> = durations.collect();
    durations.sort_unstable();
    durations.get(durations.len() / 2).copied()
}

fn milliseconds(duration: Option<Duration>) -> String {
    duration.map_or("-".to_owned(), |duration| format!("{:.2}", duration.as_secs_f64() * 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_bytes_and_a_count() {
        assert_eq!("8192:200".parse::<Size>().map(|size| (size.0.size, size.0.count)), Ok((8192, 200)));
        for wrong in ["8192", "8192:", "0:1", "1:0", "1K:3"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_table_shows_medians_and_the_highest_peak() {
        let round = |wall: u64, peak: u64| Measured {
            start: Start { wall: Duration::from_millis(wall), cpu: None },
            costs: vec![Cost {
                walls: vec![Duration::from_millis(wall)],
                cpu: Some(Duration::from_micros(wall)),
                peak: Some(peak * 1_000_000),
                calls: 5.0,
            }],
        };
        let rounds = [round(3, 12), round(1, 15), round(2, 10)];
        let table = table(&[Phase { size: 8192, count: 10 }], &rounds);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["start", "2.00", "-"]);
        assert_eq!(lines[2], ["8192", "30", "2.00", "0.00", "5.0", "15.0"]);
    }
}
