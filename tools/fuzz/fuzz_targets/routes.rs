//! A routes file and an address: any file is read or refused, every problem lies in it, and no
//! destination is inside `EMAIL_DOMAIN`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ses_forwarder::{address::Address, domains::Domains, routes::Routes};

fuzz_target!(|input: (&[u8], &str)| {
    let (file, recipient) = input;
    let domains = Domains::parse("in.example").expect("a domain");
    let checked = Routes::check(file, &domains, Some("out.example"));
    let lines = file.split(|byte| *byte == b'\n').count();
    let errors = checked.routes.as_ref().err();
    for problem in errors.into_iter().flatten().chain(&checked.warnings) {
        assert!((1..=lines).contains(&problem.line), "{problem}");
        assert!((1..=file.len() + 1).contains(&problem.column), "{problem}");
    }
    if let (Ok(routes), Ok(recipient)) = (checked.routes, Address::parse(recipient))
        && let Some(line) = routes.lookup(&recipient)
    {
        assert!(line.destinations.iter().all(|destination| destination.domain() != "in.example"));
    }
});
