//! Servers that outlive a lack of file descriptors. Alone in its process, whose limit it lowers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use ses_forwarder_local_stack::{Config, Stack};

/// Every file descriptor is taken while clients connect: they wait, and are served when there are some again.
#[tokio::test(flavor = "multi_thread")]
async fn servers_wait_for_file_descriptors() {
    let stack = Stack::start(Config::default()).await.unwrap();
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(400), maximum: limits.maximum }).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    let mut connect = |address: SocketAddr| {
        // One for the client's end; none is left for the server's. Should a server take it, another is.
        loop {
            taken.pop().unwrap();
            if let Ok(client) = TcpStream::connect(address) {
                return client;
            }
        }
    };
    let mut smtp = connect(stack.smtp());
    let page: SocketAddr =
        stack.page_url().trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let mut http = connect(page);
    // Long enough for both to have tried in vain.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    drop(taken);
    setrlimit(Resource::Nofile, limits).unwrap();

    let mut greeting = [0; 4];
    smtp.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ");
    write!(http, "GET / HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}
