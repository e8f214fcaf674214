//! `cargo bench -p ses-forwarder`: rewriting by kind of message and by size of the header block.
//! Both walks are timed: finding the block, and writing the new one.

use divan::{Bencher, counter::BytesCount};
use ses_forwarder::{
    address::Address,
    decision::Delivery,
    header::{Rewrite, rewrite, split},
};

#[path = "../examples/support/messages.rs"]
mod messages;

fn main() {
    divan::main();
}

fn deliveries() -> [Delivery; 1] {
    let address = |text: &str| Address::parse(text).expect("a constant address");
    [Delivery { recipient: address("info@in.example"), destinations: vec![address("ann@out.example")] }]
}

fn run(bencher: Bencher<'_, '_>, message: &[u8]) {
    let deliveries = deliveries();
    let how = Rewrite {
        email_domain: "in.example",
        envelope_sender: Some("sender@envelope.example"),
        deliveries: &deliveries,
        subject_prefix: "",
        tags: &[],
    };
    bencher.counter(BytesCount::of_slice(message)).bench(|| rewrite(&split(divan::black_box(message)), &how));
}

#[divan::bench(args = [4 << 10, 64 << 10, 1 << 20, 4 << 20])]
fn size(bencher: Bencher<'_, '_>, bytes: usize) {
    run(bencher, &messages::of_size(bytes));
}

#[divan::bench(args = messages::KINDS)]
fn kind(bencher: Bencher<'_, '_>, kind: &str) {
    run(bencher, &messages::of_kind(kind));
}
