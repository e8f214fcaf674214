//! An event: any JSON is read, what goes into an object key is safe there, and what the index keeps
//! is one line of JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use ses_forwarder::notification::{Record, records};

fuzz_target!(|event: &str| {
    let Ok(event) = serde_json::from_str::<&RawValue>(event) else { return };
    for record in records(event) {
        let Record::Received { verbatim, notification } = record else { continue };
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        assert!(notification.message_id.bytes().all(safe) && !notification.message_id.starts_with('.'));
        assert!(!verbatim.contains(['\n', '\r']));
        assert!(serde_json::from_str::<&RawValue>(&verbatim).is_ok());
    }
});
