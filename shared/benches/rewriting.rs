//! `cargo bench -p ses-forwarder`: rewriting by kind of message and by size of the header block.
//! Both walks are timed: finding the block, and writing the new one.

use divan::{Bencher, counter::BytesCount};
use ses_forwarder::{
    domains::Domains,
    replies::{Replies, keys::ReplyKeys},
};

#[path = "../examples/support/messages.rs"]
mod messages;

fn main() {
    divan::main();
}

fn run(bencher: Bencher<'_, '_>, message: &[u8]) {
    let deliveries = messages::deliveries();
    let bencher = bencher.counter(BytesCount::of_slice(message));
    bencher.bench(|| messages::rewritten(divan::black_box(message), &deliveries, None));
}

#[divan::bench(args = [4 << 10, 64 << 10, 1 << 20, 4 << 20])]
fn size(bencher: Bencher<'_, '_>, bytes: usize) {
    run(bencher, &messages::of_size(bytes));
}

#[divan::bench(args = messages::KINDS)]
fn kind(bencher: Bencher<'_, '_>, kind: &str) {
    run(bencher, &messages::of_kind(kind));
}

/// What it costs that From and Reply-To can be answered.
#[divan::bench(args = [false, true])]
fn answerable(bencher: Bencher<'_, '_>, is_on: bool) {
    let (keys, domains) = (ReplyKeys::first([7; 32]), Domains::parse("in.example").expect("a domain"));
    let replies = is_on.then_some(Replies { keys: &keys, contacts: &[], named: &[], domains: &domains });
    let (message, deliveries) = (messages::of_size(4 << 10), messages::deliveries());
    bencher.bench(|| messages::rewritten(divan::black_box(&message), &deliveries, replies));
}
