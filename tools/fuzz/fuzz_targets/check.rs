//! What every target of header rewriting does with a message.

use ses_forwarder::{
    address::Address,
    delivery::Delivery,
    header::{Rewrite, rewrite, split},
};
use ses_forwarder_checker::violations;

/// Rewrites a message, and what came of it once more, and checks both.
pub fn check(message: &[u8], envelope_sender: Option<&str>) {
    let address = |text: &str| Address::parse(text).expect("a constant address");
    let deliveries = [Delivery {
        recipient: address("info@in.example"),
        destinations: vec![address("ann@out.example"), address("bob@else.example")],
    }];
    let how = Rewrite {
        email_domain: "in.example",
        envelope_sender,
        deliveries: &deliveries,
        recipients: &[address("info@in.example")],
        hide_destinations: false,
        subject_prefix: "",
        tags: &[],
    };
    let mut message = message.to_vec();
    for _ in 0..2 {
        let block = split(&message);
        let rewritten = rewrite(&block, &how);
        let output = [&rewritten.header, &message[block.body_at..]].concat();
        let found = violations(&message, &output, &rewritten.from, &how);
        assert!(found.is_empty(), "{found:#?}");
        message = output;
    }
}
