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
    let deliveries = [
        Delivery {
            recipient: address("info@in.example"),
            destinations: vec![address("ann@out.example"), address("bob@else.example")],
            tags: Vec::new(),
        },
        Delivery {
            recipient: address("desk@in.example"),
            destinations: vec![address("ann@out.example")],
            tags: Vec::new(),
        },
    ];
    let how = Rewrite {
        email_domain: "in.example",
        envelope_sender,
        deliveries: &deliveries,
        recipients: &[address("info@in.example")],
        hide_destinations: false,
        subject_prefix: "",
        tags: &[],
        replies: None,
    };
    let mut message = message.to_vec();
    let mut before: Vec<_> = Vec::new();
    for _ in 0..2 {
        let block = split(&message);
        let rewritten = rewrite(&block, &how);
        let output = [&rewritten.header, &message[block.body_at..]].concat();
        let found = violations(&message, &output, &rewritten.from, &how);
        assert!(found.is_empty(), "{found:#?}");
        // A piece of an encoded parameter takes 76 octets, for five of windows-1252 if they are euro signs.
        assert!(rewritten.header.len() <= 16 * block.len() + 4096, "{} octets", rewritten.header.len());
        let lists = lists(&output);
        assert!(before.iter().all(|list| lists.contains(list)), "{before:?} was mended again: {lists:?}");
        before = lists;
        message = output;
    }
}

/// To, Cc and Reply-To: what SES can read once stays as it is.
fn lists(message: &[u8]) -> Vec<(String, String)> {
    let fields = split(message).fields();
    let lists = fields.filter(|field| ["To", "Cc", "Reply-To"].iter().any(|name| field.is(name)));
    lists.map(|field| (field.name.escape_ascii().to_string(), field.value.escape_ascii().to_string())).collect()
}
