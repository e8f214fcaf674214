//! The conversation of one SMTP session, over any stream. Commands are parsed by `smtp-proto`; only
//! CRLF.CRLF ends a message, so nothing can be smuggled behind it.

use std::{future::Future, io, time::Duration};

use smtp_proto::{
    Error, MAIL_BODY_7BIT, MAIL_BODY_8BITMIME, MAIL_SMTPUTF8, MailFrom, RcptTo, Request,
    request::receiver::DataReceiver,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter},
    time::timeout,
};

use crate::receiving::{Envelope, Refusal};

/// What SES takes, header fields included.
pub const MAX_MESSAGE: usize = 40 * 1024 * 1024;

/// Recipients of one message.
const MAX_RECIPIENTS: usize = 100;

/// Bytes of a command with its line end. RFC 5321 section 4.5.3.1.4 asks for 512; parameters add to it.
const MAX_COMMAND: u64 = 4096;

/// A session that is silent for this long is ended. RFC 5321 section 4.5.3.2.7.
pub(super) const SILENCE_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Wrong commands after which a session is ended.
const MAX_ERRORS: usize = 20;

const NO_SMTPUTF8: &str = "553 5.6.7 SMTPUTF8 is not offered here";

/// Also of an extension that is known but not offered. RFC 5321 section 4.1.1.11.
const UNKNOWN_PARAMETER: &str = "555 5.5.4 A parameter is unknown or malformed";

/// Where a session's messages go.
pub trait Inbox {
    /// Whether a recipient is taken.
    fn accepts(&self, recipient: &str, tls: bool) -> Result<(), Refusal>;

    /// Takes a message and returns its id.
    fn receive(&self, envelope: Envelope, message: &[u8]) -> impl Future<Output = String> + Send;
}

/// One client's conversation, and what is known of the client.
#[derive(Debug)]
pub struct Session<'a, I> {
    host: &'a str,
    inbox: &'a I,
    peer: String,
    tls: bool,
    helo: Option<String>,
    transaction: Option<Transaction>,
    errors: usize,
}

/// A message being submitted.
#[derive(Debug, Default)]
struct Transaction {
    from: Option<String>,
    recipients: Vec<String>,
}

/// How a conversation over one stream ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client left, or was told to.
    Closed,
    /// The client wants TLS.
    StartTls,
}

/// What follows a reply.
enum Next {
    Command,
    Data,
    End(Ending),
}

/// A buffered connection.
pub type Wire<S> = BufReader<BufWriter<S>>;

/// Buffers a connection.
pub fn wire<S: AsyncRead + AsyncWrite>(stream: S) -> Wire<S> {
    BufReader::new(BufWriter::new(stream))
}

impl<'a, I: Inbox> Session<'a, I> {
    /// Of a client at that IP address.
    pub fn new(host: &'a str, inbox: &'a I, peer: String) -> Session<'a, I> {
        Session { host, inbox, peer, tls: false, helo: None, transaction: None, errors: 0 }
    }

    /// Greets, and answers until the client leaves or wants TLS.
    pub async fn open<S>(&mut self, stream: &mut Wire<S>) -> io::Result<Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        stream.write_all(format!("220 {} ESMTP local SES inbound\r\n", self.host).as_bytes()).await?;
        self.converse(stream).await
    }

    /// Goes on over TLS. All that the client said before is forgotten (RFC 3207 section 4.2).
    pub async fn secured<S>(&mut self, stream: &mut Wire<S>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        (self.tls, self.helo, self.transaction) = (true, None, None);
        // STARTTLS is refused from here on.
        self.converse(stream).await.map(drop)
    }

    async fn converse<S>(&mut self, stream: &mut Wire<S>) -> io::Result<Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut line = Vec::new();
        loop {
            // Replies to pipelined commands go out together (RFC 2920 section 3.2).
            if stream.buffer().is_empty() {
                stream.flush().await?;
            }
            let (reply, next) = match timeout(SILENCE_LIMIT, read_line(stream, &mut line)).await?? {
                Line::Closed => {
                    stream.flush().await?;
                    return Ok(Ending::Closed);
                }
                Line::TooLong => ("500 5.5.6 The line is too long".to_owned(), Next::Command),
                // Of one line at a time: of several, the parser would take a colon or an address from
                // a command's next line.
                Line::Complete => match Request::parse(&mut line.iter()) {
                    Ok(request) => self.answer(request.into_owned()),
                    Err(error) => (describe(&error), Next::Command),
                },
            };
            if reply.starts_with('5') {
                self.errors += 1;
            }
            stream.write_all(reply.as_bytes()).await?;
            stream.write_all(b"\r\n").await?;
            match next {
                _ if self.errors > MAX_ERRORS => {
                    stream.write_all(b"421 4.7.0 Too many errors\r\n").await?;
                    stream.flush().await?;
                    return Ok(Ending::Closed);
                }
                Next::Command => {}
                Next::Data => {
                    stream.flush().await?;
                    let reply = self.take_message(stream).await?;
                    stream.write_all(reply.as_bytes()).await?;
                    stream.write_all(b"\r\n").await?;
                }
                Next::End(ending) => {
                    stream.flush().await?;
                    return Ok(ending);
                }
            }
        }
    }

    /// The reply to a command, without its line end.
    fn answer(&mut self, request: Request<String>) -> (String, Next) {
        let reply = match request {
            Request::Ehlo { host } => {
                self.greeted(host);
                let starttls = if self.tls { "" } else { "250-STARTTLS\r\n" };
                let host = self.host;
                format!("250-{host}\r\n250-8BITMIME\r\n250-PIPELINING\r\n{starttls}250 SIZE {MAX_MESSAGE}")
            }
            Request::Helo { host } => {
                self.greeted(host);
                format!("250 {}", self.host)
            }
            Request::Mail { from } => self.mail(from),
            Request::Rcpt { to } => self.recipient(to),
            Request::Data => match &self.transaction {
                Some(transaction) if !transaction.recipients.is_empty() => {
                    return ("354 End data with <CR><LF>.<CR><LF>".to_owned(), Next::Data);
                }
                _ => "503 5.5.1 RCPT first".to_owned(),
            },
            Request::StartTls if self.tls => "503 5.5.1 TLS is on already".to_owned(),
            Request::StartTls => return ("220 2.0.0 Go ahead".to_owned(), Next::End(Ending::StartTls)),
            Request::Rset => {
                self.transaction = None;
                "250 2.0.0 OK".to_owned()
            }
            Request::Noop { .. } => "250 2.0.0 OK".to_owned(),
            Request::Vrfy { .. } => "252 2.5.0 Send mail and see".to_owned(),
            Request::Quit => return ("221 2.0.0 Bye".to_owned(), Next::End(Ending::Closed)),
            other => format!("502 5.5.1 {} is not offered here", other.name()),
        };
        (reply, Next::Command)
    }

    fn greeted(&mut self, host: String) {
        self.helo = Some(host);
        self.transaction = None;
    }

    fn mail(&mut self, from: MailFrom<String>) -> String {
        if self.helo.is_none() {
            return "503 5.5.1 EHLO first".to_owned();
        }
        if self.transaction.is_some() {
            return "503 5.5.1 MAIL was given already".to_owned();
        }
        if from.flags & MAIL_SMTPUTF8 != 0 || !from.address.is_ascii() {
            return NO_SMTPUTF8.to_owned();
        }
        let offered = MailFrom {
            address: from.address.clone(),
            size: from.size,
            flags: from.flags & (MAIL_BODY_7BIT | MAIL_BODY_8BITMIME),
            ..MailFrom::default()
        };
        if from != offered {
            return UNKNOWN_PARAMETER.to_owned();
        }
        if from.size > MAX_MESSAGE {
            return too_large();
        }
        let from = Some(from.address).filter(|address| !address.is_empty());
        self.transaction = Some(Transaction { from, recipients: Vec::new() });
        "250 2.1.0 OK".to_owned()
    }

    fn recipient(&mut self, to: RcptTo<String>) -> String {
        let Some(transaction) = &mut self.transaction else {
            return "503 5.5.1 MAIL first".to_owned();
        };
        if !to.address.is_ascii() {
            return NO_SMTPUTF8.to_owned();
        }
        if to != (RcptTo { address: to.address.clone(), ..RcptTo::default() }) {
            return UNKNOWN_PARAMETER.to_owned();
        }
        if transaction.recipients.len() == MAX_RECIPIENTS {
            return format!("452 4.5.3 A message can have {MAX_RECIPIENTS} recipients");
        }
        match self.inbox.accepts(&to.address, self.tls) {
            Ok(()) => {
                transaction.recipients.push(to.address);
                "250 2.1.5 OK".to_owned()
            }
            Err(Refusal::NoRule) => "550 5.1.1 No receipt rule matches this recipient".to_owned(),
            Err(Refusal::TlsRequired) => "530 5.7.0 Must issue a STARTTLS command first".to_owned(),
        }
    }

    /// Reads the message and hands it over.
    async fn take_message<S>(&mut self, stream: &mut Wire<S>) -> io::Result<String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let transaction = self.transaction.take().unwrap_or_default();
        let mut receiver = DataReceiver::new();
        // The command's line end counts as the one before the first line: a dot there is stuffed too.
        receiver.ingest(&mut b"\r\n".iter(), &mut Vec::new());
        let mut message = Vec::new();
        let mut too_much = false;
        loop {
            let available = timeout(SILENCE_LIMIT, stream.fill_buf()).await??;
            if available.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut bytes = available.iter();
            let complete = receiver.ingest(&mut bytes, &mut message);
            let consumed = available.len() - bytes.len();
            stream.consume(consumed);
            too_much |= message.len() > MAX_MESSAGE;
            if too_much {
                message.clear();
            }
            if complete {
                break;
            }
        }
        if too_much {
            return Ok(too_large());
        }
        let envelope = Envelope {
            from: transaction.from,
            recipients: transaction.recipients,
            helo: self.helo.clone().unwrap_or_default(),
            peer: self.peer.clone(),
            tls: self.tls,
        };
        Ok(format!("250 OK {}", self.inbox.receive(envelope, &message).await))
    }
}

/// How reading a command went.
enum Line {
    Complete,
    TooLong,
    Closed,
}

/// Reads a line with its end.
async fn read_line<S>(stream: &mut Wire<S>, line: &mut Vec<u8>) -> io::Result<Line>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut read = Line::Complete;
    loop {
        line.clear();
        stream.take(MAX_COMMAND).read_until(b'\n', line).await?;
        match line.last() {
            Some(b'\n') => return Ok(read),
            // The rest of it is no command.
            Some(_) if line.len() as u64 == MAX_COMMAND => read = Line::TooLong,
            _ => return Ok(Line::Closed),
        }
    }
}

fn too_large() -> String {
    format!("552 5.3.4 A message can have {MAX_MESSAGE} bytes")
}

/// The reply to what could not be parsed.
fn describe(error: &Error) -> String {
    match error {
        Error::UnknownCommand => "500 5.5.1 Unknown command".to_owned(),
        Error::InvalidSenderAddress => "501 5.1.7 The sender's address is malformed".to_owned(),
        Error::InvalidRecipientAddress => "501 5.1.3 The recipient's address is malformed".to_owned(),
        Error::SyntaxError { syntax } => format!("501 5.5.4 Expected: {syntax}"),
        Error::InvalidParameter { .. } | Error::UnsupportedParameter { .. } => UNKNOWN_PARAMETER.to_owned(),
        Error::NeedsMoreData { .. } | Error::ResponseTooLong | Error::InvalidResponse { .. } => {
            "500 5.5.2 Syntax error".to_owned()
        }
    }
}
