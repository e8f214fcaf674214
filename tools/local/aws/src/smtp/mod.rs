//! The SMTP server that stands for the region's inbound endpoint: it takes mail for recipients that a
//! receipt rule matches, and hands each message over byte for byte as it came.
//!
//! Extensions: SIZE, 8BITMIME, PIPELINING and STARTTLS with a certificate made at start. Not
//! supported, as on SES: AUTH, SMTPUTF8, CHUNKING, DSN.
//!
//! RFC 5321; RFC 3207 (STARTTLS); limits: <https://docs.aws.amazon.com/ses/latest/dg/quotas.html>

pub mod session;

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};

use self::session::{Ending, Inbox, SILENCE_LIMIT, Session, wire};
use crate::receiving::{Envelope, Receiving, Refusal};

pub use self::session::MAX_MESSAGE;

/// Sessions at once; with [`MAX_MESSAGE`] each this bounds the memory.
const MAX_SESSIONS: usize = 50;

/// How long to wait where no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Inbox for Receiving {
    fn accepts(&self, recipient: &str, tls: bool) -> Result<(), Refusal> {
        Receiving::accepts(self, recipient, tls)
    }

    async fn receive(&self, envelope: Envelope, message: &[u8]) -> String {
        Receiving::receive(self, envelope, message).await
    }
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, receiving: Receiving) -> anyhow::Result<()> {
    let host = receiving.host();
    let tls = acceptor(&host)?;
    let server = Arc::new(Server { host, tls, receiving });
    let sessions = Arc::new(Semaphore::new(MAX_SESSIONS));
    loop {
        // A connection that is not accepted yet waits with the operating system, and costs nothing.
        let session = Arc::clone(&sessions).acquire_owned().await?;
        let stream = accept(&listener).await;
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            // A client that goes away has nothing to be told.
            let _ = server.session(stream).await;
            drop(session);
        });
    }
}

/// The next connection. What keeps one from being accepted (no file descriptor left, or a client that is
/// gone already) passes, and must not end the server.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!("can't accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A TLS acceptor with a certificate for this host, made now and trusted by nobody.
fn acceptor(host: &str) -> anyhow::Result<TlsAcceptor> {
    let certified = rcgen::generate_simple_self_signed([host.to_owned(), "localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Server {
    host: String,
    tls: TlsAcceptor,
    receiving: Receiving,
}

impl Server {
    async fn session(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?.ip().to_string();
        let mut session = Session::new(&self.host, &self.receiving, peer);
        let mut stream = wire(stream);
        if session.open(&mut stream).await? == Ending::Closed {
            return Ok(());
        }
        // What the client sent in the clear behind STARTTLS is thrown away with the buffer
        // (RFC 3207 section 4.2).
        let stream = timeout(SILENCE_LIMIT, self.tls.accept(stream.into_inner().into_inner())).await??;
        session.secured(&mut wire(stream)).await
    }
}
