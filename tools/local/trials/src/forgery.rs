//! Tries addresses that nobody has signed: made up at random, and signed ones with a change. None may be read.

use std::{
    fmt,
    time::{Duration, Instant},
};

use ses_forwarder::{
    address::Address,
    replies::{
        keys::{ReplyKeys, SECRET_OCTETS},
        signed::{Contact, Purpose, Signed},
    },
};

/// What tags are made of, and what stands between the parts of an address.
const CHARACTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const BETWEEN: &[u8] = b"+=.-_";

/// What came of it.
#[derive(Debug)]
pub struct Tried {
    /// How many addresses were tried.
    pub tried: u64,
    /// Those that were read, which is none.
    pub read: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Tries so many addresses against two keys.
pub fn run(count: u64) -> anyhow::Result<Tried> {
    let secret = || {
        let mut secret = [0; SECRET_OCTETS];
        secret.fill_with(|| fastrand::u8(..));
        secret
    };
    let keys = ReplyKeys::first(secret()).rotated(secret())?;
    let alias = Address::parse("info@in.example")?;
    let mut signed: Vec<Signed> = Vec::new();
    for correspondent in ["jane@example.com", "jane+list@example.com", "\"jane doe\"@example.com"] {
        let correspondent = Address::parse(correspondent)?;
        for purpose in [Purpose::Answer, Purpose::Bounce] {
            signed.extend(keys.sign(purpose, &alias, &correspondent));
        }
    }
    let contacts: Vec<&Contact> = signed.iter().filter_map(|signed| signed.contact.as_ref()).collect();
    let began = Instant::now();
    let mut tried = Tried { tried: 0, read: Vec::new(), took: Duration::ZERO };
    while tried.tried < count {
        let local = if fastrand::bool() { made_up() } else { changed(&signed) };
        let Ok(address) = Address::parse(&format!("{local}@in.example")) else { continue };
        if signed.iter().any(|signed| signed.address == address) {
            continue;
        }
        tried.tried += 1;
        // Whatever its name, somebody's contact is found: only the tag tells.
        if keys.read(&address, |_| Some(contacts[fastrand::usize(..contacts.len())])).is_some() {
            tried.read.push(address.to_string());
        }
    }
    tried.took = began.elapsed();
    Ok(tried)
}

fn text(characters: &[u8], length: usize) -> String {
    (0..length).map(|_| char::from(characters[fastrand::usize(..characters.len())])).collect()
}

/// An address of either form with a tag at random.
fn made_up() -> String {
    let id = ["a", "b"][fastrand::usize(..2)];
    match fastrand::u8(..3) {
        0 => format!("info+jane=example.com+{id}{}", text(CHARACTERS, 10)),
        1 => format!("info+{id}{}", text(CHARACTERS, 25)),
        _ => {
            let name = text(CHARACTERS, fastrand::usize(1..12));
            format!("info+{name}={}.com+{id}{}", text(CHARACTERS, 5), text(CHARACTERS, 10))
        }
    }
}

/// A signed address with one to three characters changed, put in, left out or exchanged.
fn changed(signed: &[Signed]) -> String {
    let mut local = signed[fastrand::usize(..signed.len())].address.local().as_bytes().to_vec();
    for _ in 0..fastrand::usize(1..=3) {
        let at = fastrand::usize(..local.len());
        let characters = if fastrand::u8(..4) == 0 { BETWEEN } else { CHARACTERS };
        let character = characters[fastrand::usize(..characters.len())];
        match fastrand::u8(..4) {
            0 => local[at] = character,
            1 => local.insert(at, character),
            2 if local.len() > 1 => drop(local.remove(at)),
            _ => {
                let other = fastrand::usize(..local.len());
                local.swap(at, other);
            }
        }
    }
    String::from_utf8(local).unwrap_or_default()
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tried { tried, read, took } = self;
        writeln!(f, "{tried} addresses that nobody has signed, {} of them read, in {took:.1?}", read.len())?;
        read.iter().try_for_each(|address| writeln!(f, "  {address}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_read() {
        let tried = run(20_000).expect("the keys are sound");
        assert_eq!((tried.tried, tried.read), (20_000, Vec::new()));
    }
}
