//! What an instance writes to its standard output and error: its log, line by line, told to the journal
//! under the message it was working on.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
};

use tokio::{net::unix::pipe, task::JoinHandle};

use crate::journal::{Event, Journal};

/// A longer line is cut into pieces: CloudWatch Logs keeps at most this much in an event.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>
const MAX_LINE: usize = 256 * 1024;

/// Reads one pipe of an instance in the background until it is dropped.
#[derive(Debug)]
pub(super) struct Output {
    /// The same pipe once more: what is read here does not depend on when the runtime hears of it.
    tap: File,
    lines: Arc<Mutex<Lines>>,
    reader: JoinHandle<()>,
}

#[derive(Debug)]
struct Lines {
    function: String,
    journal: Arc<Journal>,
    message: Option<String>,
    partial: Vec<u8>,
}

impl Output {
    pub(super) fn new(pipe: OwnedFd, function: &str, journal: &Arc<Journal>) -> io::Result<Self> {
        let tap = File::from(pipe.try_clone()?);
        let pipe = pipe::Receiver::from_owned_fd(pipe)?;
        let lines = Arc::new(Mutex::new(Lines {
            function: function.to_owned(),
            journal: Arc::clone(journal),
            message: None,
            partial: Vec::new(),
        }));
        let reader = tokio::spawn(read(pipe, Arc::clone(&lines)));
        Ok(Output { tap, lines, reader })
    }

    /// Notes the message that lines are about from now on.
    pub(super) fn set_message(&self, message: Option<&str>) {
        self.lines.lock().expect("no holder of this lock panics").message = message.map(str::to_owned);
    }

    /// Takes what has been written so far: nothing an invocation logged is missing, or counted to the next
    /// one, after it.
    pub(super) fn drain(&self) {
        let mut lines = self.lines.lock().expect("no holder of this lock panics");
        // The end, or an error, is met again by the reader.
        let _ = lines.take_all(|buffer| (&self.tap).read(buffer));
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.reader.abort();
        let mut lines = self.lines.lock().expect("no holder of this lock panics");
        let _ = lines.take_all(|buffer| (&self.tap).read(buffer));
        lines.end_line();
    }
}

async fn read(pipe: pipe::Receiver, lines: Arc<Mutex<Lines>>) {
    while pipe.readable().await.is_ok() {
        let mut lines = lines.lock().expect("no holder of this lock panics");
        match lines.take_all(|buffer| pipe.try_read(buffer)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(()) | Err(_) => return,
        }
    }
}

impl Lines {
    /// Reads until the pipe is empty (`WouldBlock`) or at its end (`Ok`).
    fn take_all(&mut self, mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => self.take(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= MAX_LINE {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
        self.partial.clear();
        if !line.is_empty() {
            self.journal
                .note(self.message.as_deref(), Event::Logged { function: self.function.clone(), line });
        }
    }
}
