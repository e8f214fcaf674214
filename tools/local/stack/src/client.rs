//! An SMTP client that sends a message as it is: lettre's adds a line end to each.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A connection that takes one message after the other.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects and says EHLO.
    pub async fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server).await.context("could not connect to the SMTP server")?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream: BufReader::new(stream) };
        client.reply().await?;
        client.command("EHLO client.example").await?;
        Ok(client)
    }

    /// Sends a message, from the null reverse-path if `from` is `None`, and returns SES's messageId. The
    /// message is closed by a line end if it has none. The error is the server's answer.
    pub async fn send(&mut self, from: Option<&str>, to: &[&str], message: &[u8]) -> anyhow::Result<String> {
        let sent = self.transaction(from, to, message).await;
        if sent.is_err() {
            // So that the next message can be sent; what failed is what the caller is told.
            let _ = self.command("RSET").await;
        }
        sent
    }

    async fn transaction(
        &mut self,
        from: Option<&str>,
        to: &[&str],
        message: &[u8],
    ) -> anyhow::Result<String> {
        let size = message.len();
        self.command(&format!("MAIL FROM:<{}> BODY=8BITMIME SIZE={size}", from.unwrap_or_default())).await?;
        for recipient in to {
            self.command(&format!("RCPT TO:<{recipient}>")).await?;
        }
        self.command("DATA").await?;
        self.stream.write_all(&stuffed(message)).await?;
        let reply = self.reply().await?;
        let id = reply.rsplit(' ').next().unwrap_or_default();
        Ok(id.to_owned())
    }

    async fn command(&mut self, command: &str) -> anyhow::Result<String> {
        self.stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// The last line of a reply, without its line end; an error if it is a refusal.
    async fn reply(&mut self) -> anyhow::Result<String> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                bail!("the SMTP server closed the connection");
            }
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            let line = line.trim_end();
            if !line.starts_with(['2', '3']) {
                bail!("{line}");
            }
            return Ok(line.to_owned());
        }
    }
}

/// A message with its dots stuffed and its end marked. RFC 5321 section 4.5.2.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(message.len() + message.len() / 64 + 5);
    for byte in message {
        if *byte == b'.' && (data.is_empty() || data.ends_with(b"\r\n")) {
            data.push(b'.');
        }
        data.push(*byte);
    }
    if !data.is_empty() && !data.ends_with(b"\r\n") {
        data.extend_from_slice(b"\r\n");
    }
    data.extend_from_slice(b".\r\n");
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_stuffed() {
        for (message, expected) in [
            ("", ".\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            ("a\r\n.\r\n..b\r\n", "a\r\n..\r\n...b\r\n.\r\n"),
            ("a\n.b\r.c\r\n", "a\n.b\r.c\r\n.\r\n"),
        ] {
            assert_eq!(String::from_utf8(stuffed(message.as_bytes())).unwrap(), expected, "{message:?}");
        }
    }
}
