//! `cargo bench -p ses-forwarder`: rewriting by kind of message and by size of the header block.
//! Both walks are timed: finding the block, and writing the new one.

use divan::{Bencher, counter::BytesCount};

#[path = "../examples/support/messages.rs"]
mod messages;

fn main() {
    divan::main();
}

fn run(bencher: Bencher<'_, '_>, message: &[u8]) {
    let deliveries = messages::deliveries();
    let bencher = bencher.counter(BytesCount::of_slice(message));
    bencher.bench(|| messages::rewritten(divan::black_box(message), &deliveries));
}

#[divan::bench(args = [4 << 10, 64 << 10, 1 << 20, 4 << 20])]
fn size(bencher: Bencher<'_, '_>, bytes: usize) {
    run(bencher, &messages::of_size(bytes));
}

#[divan::bench(args = messages::KINDS)]
fn kind(bencher: Bencher<'_, '_>, kind: &str) {
    run(bencher, &messages::of_kind(kind));
}
