//! `rewrite BYTES [TIMES]`: rewrites a header block of that size that often, for an instruction
//! counter (`valgrind --tool=callgrind`) to compare sizes and versions by what does not drift.

#[path = "support/messages.rs"]
mod messages;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let bytes: usize = arguments.next().ok_or("expected a size in bytes")?.parse()?;
    let times: usize = arguments.next().map_or(Ok(1), |times| times.parse())?;
    let message = messages::of_size(bytes);
    let deliveries = messages::deliveries();
    let start = std::time::Instant::now();
    let mut written = 0;
    for _ in 0..times {
        written += messages::rewritten(std::hint::black_box(&message), &deliveries, None);
    }
    println!(
        "{} bytes became {} in {:?}",
        message.len(),
        written / times.max(1),
        start.elapsed() / u32::try_from(times)?.max(1)
    );
    Ok(())
}
