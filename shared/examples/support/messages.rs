//! Messages to measure with: what SES stores for a usual mail, and its variations.

use ses_forwarder::{
    address::Address,
    delivery::Delivery,
    header::{Rewrite, rewrite, split},
    replies::Replies,
};

/// Rewrites a message as the function does that forwards it; how long the new header block is.
pub(crate) fn rewritten(message: &[u8], deliveries: &[Delivery], replies: Option<Replies<'_>>) -> usize {
    let how = Rewrite {
        email_domain: "in.example",
        envelope_sender: Some("sender@envelope.example"),
        deliveries,
        recipients: &deliveries.iter().map(|delivery| delivery.recipient.clone()).collect::<Vec<_>>(),
        hide_destinations: false,
        subject_prefix: "",
        tags: &[],
        replies,
    };
    rewrite(&split(message), &how).header.len()
}

/// Who gets it.
pub(crate) fn deliveries() -> [Delivery; 1] {
    let address = |text: &str| Address::parse(text).expect("a constant address");
    [Delivery {
        recipient: address("info@in.example"),
        destinations: vec![address("ann@out.example")],
        tags: vec![],
    }]
}

/// A header block as SES stores it, about 4 KB.
const USUAL: &str = "Return-Path: <bounces+17@lists.example.org>\r\n\
Received: from mail.example.org (mail.example.org [203.0.113.9])\r\n by inbound-smtp.us-east-1.amazonaws.com with SMTP id 3k5v0q0t7c1m2n\r\n for info@in.example;\r\n Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n\
X-SES-Spam-Verdict: PASS\r\nX-SES-Virus-Verdict: PASS\r\n\
Received-SPF: pass (spfCheck: domain of lists.example.org designates 203.0.113.9 as permitted sender) client-ip=203.0.113.9; envelope-from=bounces+17@lists.example.org; helo=mail.example.org;\r\n\
Authentication-Results: amazonses.com;\r\n spf=pass (spfCheck: domain of lists.example.org designates 203.0.113.9 as permitted sender) client-ip=203.0.113.9; envelope-from=bounces+17@lists.example.org;\r\n dkim=pass header.i=@example.org;\r\n dmarc=pass header.from=example.org;\r\n\
X-SES-RECEIPT: AEFBQUFBQUFBQUFHUWJ0R2VhZ2VzdGVyQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQQ==\r\n\
X-SES-DKIM-SIGNATURE: a=rsa-sha256; q=dns/txt; b=Cm1vc3RseSBoYXJtbGVzcyBzaWduYXR1cmUgdGhhdCBpcyBub25lLCBsb25nIGVub3VnaA==; c=relaxed/simple; s=224i4yxa5dv7c2xz3womw6peuasteono; d=amazonses.com; t=1795428000; v=1; bh=2jmj7l5rSw0yVb/vlWAYkK/YBwk=; h=From:To:Cc:Bcc:Subject:Date:Message-ID:MIME-Version:Content-Type:X-SES-RECEIPT;\r\n\
Received: by mail.example.org (Postfix)\r\n\tid 4cF3Kx2mZz1; Mon, 23 Nov 2026 09:59:59 +0000 (UTC)\r\n\
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org;\r\n\ts=s1; t=1795427999;\r\n\tbh=2jmj7l5rSw0yVb/vlWAYkK/YBwk=;\r\n\th=from:reply-to:subject:date:message-id:to:cc:mime-version:content-type;\r\n\tb=dGhpcyBpcyBubyBzaWduYXR1cmUgYXQgYWxsLCBidXQgaXQgaXMgYXMgbG9uZyBhcyBv\r\n\t bmUgb2YgMjA0OCBiaXRzIHdvdWxkIGJlLCBzbyB0aGF0IHRoZSBibG9jayBpcyByZWFs\r\n\t aXN0aWMuIFRoaXMgaXMgdGhlIHRoaXJkIGxpbmUgb2YgaXQsIGFuZCB0aGUgbGFzdC4=\r\n\
Received: from desk.example.org (localhost [127.0.0.1])\r\n\tby mail.example.org (Postfix) with ESMTPSA id 4cF3Kx1;\r\n\tMon, 23 Nov 2026 09:59:58 +0000 (UTC)\r\n\
From: \"Doe, John\" <john@example.org>\r\n\
To: Info Desk <info@in.example>, Ann <ann@else.example>,\r\n\tbob@y.example\r\n\
Cc: Team: a@x.example, b@x.example;\r\n\
Subject: Re: =?utf-8?q?Caf=C3=A9?= und Kuchen am Montag\r\n\
Date: Mon, 23 Nov 2026 10:59:57 +0100\r\n\
Message-ID: <7a1f1c52-9f3b-4b42-a0a4-9d7d3f1f2d11@example.org>\r\n\
In-Reply-To: <1b2c3d4e-0000-4000-8000-000000000001@in.example>\r\n\
References: <1b2c3d4e-0000-4000-8000-000000000000@in.example>\r\n <1b2c3d4e-0000-4000-8000-000000000001@in.example>\r\n\
List-Id: The List <list.lists.example.org>\r\n\
List-Unsubscribe: <mailto:leave@lists.example.org>,\r\n <https://lists.example.org/leave/7a1f1c52>\r\n\
List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/alternative;\r\n boundary=\"=_7a1f1c529f3b4b42a0a49d7d3f1f2d11\"\r\n\
X-Mailer: Nobody's Mailer 2.0\r\nX-Spam-Status: No, score=-1.9 required=5.0 tests=BAYES_00,DKIM_SIGNED,DKIM_VALID,DKIM_VALID_AU,\r\n\tHTML_MESSAGE,SPF_PASS autolearn=ham autolearn_force=no version=4.0.1\r\n";

/// The kinds [`of_kind`] knows.
#[allow(dead_code, reason = "only the benchmark walks them")]
pub(crate) const KINDS: [&str; 5] = ["usual", "LF", "8-bit", "many recipients", "folded lines"];

/// The usual fields, and more of the kind that mail collects on its way, up to a size in bytes.
pub(crate) fn of_size(bytes: usize) -> Vec<u8> {
    let mut message = USUAL.to_owned();
    for hop in 0.. {
        let more = format!(
            "X-Hop-{hop}: from hop{hop}.example.net (hop{hop}.example.net [198.51.100.7])\r\n\tby next.example.net with ESMTPS; Mon, 23 Nov 2026 09:59:57 +0000 (UTC)\r\n"
        );
        if message.len() + more.len() + 2 > bytes {
            break;
        }
        message += &more;
    }
    message += "\r\n";
    message.into_bytes()
}

/// A message of 4 KB with something special, or nothing.
#[allow(dead_code, reason = "only the benchmark walks them")]
pub(crate) fn of_kind(kind: &str) -> Vec<u8> {
    match kind {
        "LF" => USUAL.replace("\r\n", "\n").into_bytes(),
        "8-bit" => USUAL.replace("Kuchen", "Käse für Ümit").replace("Ann", "Änne").into_bytes(),
        "many recipients" => {
            USUAL.replace("bob@y.example", &"Some One <some.one@y.example>,\r\n\t".repeat(50)).into_bytes()
        }
        "folded lines" => USUAL.replace("tests=", &"tests=A,B ".repeat(200)).into_bytes(),
        _ => USUAL.as_bytes().to_vec(),
    }
}
