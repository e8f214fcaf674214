//! What the local stack's SES says of a raw message: never a panic, and what it would send on, it would take.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ses_forwarder_local_aws::ses_message;

fuzz_target!(|message: &[u8]| {
    let Ok(checked) = ses_message::check(message) else { return };
    let outgoing = checked.outgoing("id@email.amazonses.com", "Wed, 25 Nov 2026 01:00:00 +0000");
    ses_message::check(&outgoing).expect("a message that was taken is taken again");
    // That they can't be read is one of the answers.
    let _ = checked.recipients();
});
