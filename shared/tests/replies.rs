//! Signed addresses and hidden ids: vectors that every later version has to read, and that nobody makes one without
//! a key.

use proptest::{collection::vec, prelude::*, sample::select};
use ses_forwarder::{
    address::Address,
    replies::{
        keys::ReplyKeys,
        signed::{Contact, Meaning, Purpose, Signed, contact_name},
    },
};

fn address(text: &str) -> Address {
    Address::parse(text).expect("a constant address")
}

/// Two keys; the second signs.
fn keys() -> ReplyKeys {
    ReplyKeys::first([1; 32]).rotated([2; 32]).expect("there is an id left")
}

/// Alias, correspondent, and the signed address by the first key alone and by both, for an answer and for a bounce.
const VECTORS: [(&str, &str, [&str; 3]); 9] = [
    (
        "info@in.example",
        "jane@example.com",
        [
            "info+jane=example.com+azvqri6i4q2",
            "info+jane=example.com+brtv7mbdfpp",
            "info+jane=example.com+bs7cullomyx",
        ],
    ),
    (
        "Info@IN.example",
        "Jane@Example.com",
        [
            "info+jane=example.com+azvqri6i4q2",
            "info+jane=example.com+brtv7mbdfpp",
            "info+jane=example.com+bs7cullomyx",
        ],
    ),
    (
        "info+shop@in.example",
        "jane+list@example.com",
        [
            "info+shop+jane+list=example.com+ak5jvo5tbrt",
            "info+shop+jane+list=example.com+b4vtai7n2c3",
            "info+shop+jane+list=example.com+beyay5lvxvh",
        ],
    ),
    (
        "info@in.example",
        "a=b@example.com",
        [
            "info+a=b=example.com+amsvshebx56",
            "info+a=b=example.com+bzoaro3gpkt",
            "info+a=b=example.com+bzyqe6ygu5d",
        ],
    ),
    (
        "info@second.example",
        "jane@example.com",
        [
            "info+jane=example.com+avkr4osp3bu",
            "info+jane=example.com+bwufpwkmrmy",
            "info+jane=example.com+bqoqtmuy6uj",
        ],
    ),
    (
        "info@in.example",
        "\"jane doe\"@example.com",
        [
            "info+ax7ynedkyml3j4pfiqs2tqvdof",
            "info+bu2hbswaexito6dsib5y4ol24w",
            "info+bdahyesce2yjozzcd7n76d2vum",
        ],
    ),
    (
        "info@in.example",
        "=?x?=@example.com",
        [
            "info+a375j6a2u4aotqauluky5lisf5",
            "info+bxbngxhsye2j32zf4m4wvuigrc",
            "info+b3zrkl4sehsklvcxmus7h5wego",
        ],
    ),
    (
        "info@in.example",
        "a.very.long.name.of.somebody.at.a.shop@mail.customers.example.com",
        [
            "info+av26yncmfpgniyyavcjhk5abd4",
            "info+bk6s7b3jmgjy7fhxdps5iyrt6j",
            "info+bsj46gitm5g4tylpth2slispbx",
        ],
    ),
    (
        "an-alias-of-thirty-seven-octets-xxxxx@in.example",
        "jane@example.com",
        [
            "an-alias-of-thirty-seven-octets-xxxxx+ay3knf2bcuetlc6aatrgp7wgq6",
            "an-alias-of-thirty-seven-octets-xxxxx+bzhrivtdosnq4dsu7sd2zvcfn7",
            "an-alias-of-thirty-seven-octets-xxxxx+bxxj5tu5256qp7ssmrlv4xnoud",
        ],
    ),
];

fn sign(keys: &ReplyKeys, purpose: Purpose, alias: &str, correspondent: &str) -> Signed {
    keys.sign(purpose, &address(alias), &address(correspondent)).expect("there is room")
}

fn read(keys: &ReplyKeys, signed: &Signed) -> Option<Meaning> {
    keys.read(&signed.address, |name| signed.contact.as_ref().filter(|contact| contact.name == name))
}

#[test]
fn vectors() {
    let first = ReplyKeys::first([1; 32]);
    for (alias, correspondent, expected) in VECTORS {
        let signed = [
            sign(&first, Purpose::Answer, alias, correspondent),
            sign(&keys(), Purpose::Answer, alias, correspondent),
            sign(&keys(), Purpose::Bounce, alias, correspondent),
        ];
        let locals: Vec<&str> = signed.iter().map(|signed| signed.address.local()).collect();
        assert_eq!(locals, expected, "{alias} {correspondent}");
        for (signed, purpose) in signed.iter().zip([Purpose::Answer, Purpose::Answer, Purpose::Bounce]) {
            let meaning = Meaning { purpose, alias: address(alias), correspondent: address(correspondent) };
            assert_eq!(read(&keys(), signed), Some(meaning), "the former key is still good to read");
            assert!(signed.address.local().len() <= 64);
        }
        assert_eq!(read(&first, &signed[1]), None, "of a key that it does not have");
    }
}

#[test]
fn what_leaves_no_room_is_not_signed() {
    let long = format!("{}@in.example", "x".repeat(38));
    for alias in [&*long, "\"o p\"@in.example"] {
        assert_eq!(
            keys().sign(Purpose::Answer, &address(alias), &address("jane@example.com")),
            None,
            "{alias}"
        );
    }
}

#[test]
fn an_address_of_one_alias_is_none_of_another() {
    let keys = keys();
    let short = sign(&keys, Purpose::Answer, "info@in.example", "jane@example.com");
    let long = sign(&keys, Purpose::Answer, "info@in.example", "\"jane doe\"@example.com");
    for signed in [short, long] {
        let (_, tag) = signed.address.local().split_once('+').expect("it has a tag");
        for other in ["sales", "inf", "info+a"] {
            for domain in ["in.example", "second.example"] {
                let moved = Signed { address: address(&format!("{other}+{tag}@{domain}")), ..signed.clone() };
                assert_eq!(read(&keys, &moved), None, "{}", moved.address);
            }
        }
        let moved = Signed { address: address(&format!("info+{tag}@second.example")), ..signed };
        assert_eq!(read(&keys, &moved), None, "{}", moved.address);
    }
}

#[test]
fn a_contact_that_somebody_has_changed_is_none() {
    let keys = keys();
    let signed = sign(&keys, Purpose::Answer, "info@in.example", "\"jane doe\"@example.com");
    let contact = signed.contact.clone().expect("it does not fit");
    for changed in [
        Contact { alias: "sales@in.example".to_owned(), ..contact.clone() },
        Contact { correspondent: "eve@example.com".to_owned(), ..contact.clone() },
        Contact { correspondent: "no address".to_owned(), ..contact },
    ] {
        assert_eq!(read(&keys, &Signed { contact: Some(changed), ..signed.clone() }), None);
    }
    assert_eq!(read(&keys, &Signed { contact: None, ..signed }), None);
}

#[test]
fn ids_are_hidden_alike_and_only_by_a_key() {
    let keys = keys();
    for id in ["a1@laptop.out.example", "CAB+xyz=_-.1234567890@mail.gmail.com", "x", &"y".repeat(400)] {
        let hidden = keys.hide_id(id.as_bytes(), "in.example").expect("an id");
        assert_eq!(keys.hide_id(id.as_bytes(), "in.example").as_ref(), Some(&hidden));
        assert_eq!(keys.reveal_id(hidden.as_bytes()).as_deref(), Some(id.as_bytes()));
        assert_eq!(keys.reveal_id(hidden.to_ascii_uppercase().as_bytes()), None, "an id keeps its case");
        assert!(
            hidden.len() < 900 && !hidden.contains(&id[..id.len().min(5)][1..]) || id.len() < 3,
            "{hidden}"
        );
        assert_eq!(ReplyKeys::first([1; 32]).reveal_id(hidden.as_bytes()), None);
    }
    let first = ReplyKeys::first([1; 32]).hide_id(b"a@b", "in.example").expect("an id");
    assert_eq!(keys.reveal_id(first.as_bytes()).as_deref(), Some(&b"a@b"[..]));
    for no_id in ["", "a b", "a>b", "\r\nBcc: x", "é", &"y".repeat(401)] {
        assert_eq!(keys.hide_id(no_id.as_bytes(), "in.example"), None, "{no_id}");
    }
}

/// An address that is not signed by these keys: random, or a signed one with a change.
fn forged() -> impl Strategy<Value = String> {
    let signed = || {
        select(vec!["jane@example.com", "\"jane doe\"@example.com"]).prop_map(|correspondent| {
            sign(&keys(), Purpose::Answer, "info@in.example", correspondent).address.local().to_owned()
        })
    };
    let changed = (signed(), any::<prop::sample::Index>(), "[a-z2-7+=.@]").prop_map(|(local, at, put)| {
        let mut local = local;
        let at = at.index(local.len());
        local.replace_range(at..=at, &put);
        local
    });
    let cut = (signed(), any::<prop::sample::Index>()).prop_map(|(mut local, at)| {
        local.remove(at.index(local.len()));
        local
    });
    prop_oneof![
        "[a-z+=.]{1,30}\\+[ab][a-z2-7]{10}",
        "info\\+[a-z]{1,9}=[a-z]{1,9}\\.com\\+[ab][a-z2-7]{10}",
        "info\\+[ab][a-z2-7]{25}",
        changed,
        cut,
        vec(select(b"+=abz27.\"\\ @".to_vec()), 0..64)
            .prop_map(|bytes| String::from_utf8(bytes).expect("ASCII")),
    ]
}

proptest! {
    #[test]
    fn what_was_signed_is_read(local in "[!-~]{1,64}", domain in "[a-z]{1,20}(\\.[a-z]{1,20}){1,8}", alias in "[a-zA-Z0-9._+=-]{1,37}") {
        let keys = keys();
        let quoted = |local: &str| format!("\"{}\"", local.replace('\\', "\\\\").replace('"', "\\\""));
        let correspondent = address(&format!("{}@{domain}", quoted(&local)));
        let alias = address(&format!("{}@in.example", quoted(&alias)));
        if let Some(signed) = keys.sign(Purpose::Answer, &alias, &correspondent) {
            prop_assert!(signed.address.local().len() <= 64);
            prop_assert_eq!(contact_name(&signed.address).is_some(), signed.contact.is_some());
            let expected = Meaning { purpose: Purpose::Answer, alias, correspondent };
            prop_assert_eq!(read(&keys, &signed), Some(expected));
        }
    }

    #[test]
    fn what_was_not_is_none(local in forged()) {
        let keys = keys();
        let all = [Purpose::Answer].into_iter().flat_map(|purpose| {
            ["jane@example.com", "\"jane doe\"@example.com"]
                .map(|correspondent| sign(&keys, purpose, "info@in.example", correspondent))
        });
        let all: Vec<Signed> = all.collect();
        if let Ok(address) = Address::parse(&format!("{local}@in.example"))
            && all.iter().all(|signed| signed.address != address)
        {
            let contact = all.iter().find_map(|signed| signed.contact.as_ref());
            prop_assert_eq!(keys.read(&address, |_| contact), None, "{}", address);
        }
    }

    #[test]
    fn an_id_is_revealed_or_none(id in vec(any::<u8>(), 0..500), change in any::<prop::sample::Index>()) {
        let keys = keys();
        let _ = keys.reveal_id(&id);
        if let Some(hidden) = keys.hide_id(&id, "in.example") {
            let mut changed = hidden.clone().into_bytes();
            let end = hidden.find(".reply").expect("it has a mark");
            let at = change.index(end);
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            prop_assert_eq!(keys.reveal_id(hidden.as_bytes()), Some(id));
            prop_assert_eq!(keys.reveal_id(&changed), None);
        }
    }
}
