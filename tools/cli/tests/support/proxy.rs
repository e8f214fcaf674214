//! Between the program and what plays AWS: hands every call on, and answers some otherwise.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// What becomes of the answer to calls whose request has a text in it.
#[derive(Clone)]
pub(crate) struct Alter {
    /// Anything in the request line, the header or the body.
    pub(crate) asked: &'static str,
    pub(crate) effect: Effect,
}

#[derive(Clone)]
pub(crate) enum Effect {
    /// Each of these is replaced in the body; that it is there is checked.
    Replace(Vec<(&'static [u8], &'static [u8])>),
    /// Another answer: status, a field of the header, body.
    Answer(u16, &'static str, &'static [u8]),
}

/// A proxy, which lives as long as the process.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    alter: Arc<Mutex<Vec<Alter>>>,
}

impl Proxy {
    pub(crate) fn start(upstream: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let alter: Arc<Mutex<Vec<Alter>>> = Arc::default();
        let shared = Arc::clone(&alter);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let alter = Arc::clone(&shared);
                std::thread::spawn(move || converse(&stream, upstream, &alter));
            }
        });
        Proxy { address, alter }
    }

    /// From now on.
    pub(crate) fn alter(&self, alter: Vec<Alter>) {
        *self.alter.lock().unwrap() = alter;
    }
}

/// Calls of one connection, until it is closed.
fn converse(stream: &TcpStream, upstream: SocketAddr, alter: &Mutex<Vec<Alter>>) {
    let mut reader = BufReader::new(stream);
    while let Some((head, body)) = request(&mut reader) {
        let asked = [head.as_bytes(), &body].concat();
        let asked = String::from_utf8_lossy(&asked).into_owned();
        let mut answer = hand_on(upstream, &head, &body);
        for Alter { asked: wanted, effect } in alter.lock().unwrap().iter() {
            if asked.contains(wanted) {
                answer = changed(&answer, effect);
            }
        }
        let mut stream = stream;
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Head with its empty line, and body; `None` at the end.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// The whole answer, with its length said, whatever the server did.
fn hand_on(upstream: SocketAddr, head: &str, body: &[u8]) -> Vec<u8> {
    let mut connection = TcpStream::connect(upstream).unwrap();
    let (line, rest) = head.split_once("\r\n").unwrap();
    connection.write_all(format!("{line}\r\nconnection: close\r\n{rest}").as_bytes()).unwrap();
    connection.write_all(body).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    // The program's own connection goes on.
    replace(&answer, b"connection: close\r\n", b"")
}

fn changed(answer: &[u8], effect: &Effect) -> Vec<u8> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let (head, body) = answer.split_at(end);
    match effect {
        Effect::Replace(pairs) => {
            let mut body = body.to_vec();
            for (from, to) in pairs {
                let replaced = replace(&body, from, to);
                assert_ne!(replaced, body, "{} is not in {}", from.escape_ascii(), body.escape_ascii());
                body = replaced;
            }
            let head = String::from_utf8(head.to_vec()).unwrap();
            let lines = head.trim_end().split("\r\n").filter(|line| !line.starts_with("content-length"));
            let head = lines.collect::<Vec<_>>().join("\r\n");
            [format!("{head}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat()
        }
        Effect::Answer(status, field, body) => {
            let head = format!("HTTP/1.1 {status} X\r\n{field}\r\ncontent-length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        }
    }
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut replaced, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        if text[at..].starts_with(from) {
            replaced.extend_from_slice(to);
            at += from.len();
        } else {
            replaced.push(text[at]);
            at += 1;
        }
    }
    replaced
}
