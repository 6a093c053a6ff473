//! Connections to the metrics server. A connection carries one request and its response.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::page::Page;
use super::response;

/// The time limit for the whole request, and again for the whole response.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum size of a read, in bytes.
const CHUNK: usize = 4096;

/// A client's connection, with a nonblocking socket.
pub struct Connection {
    stream: TcpStream,
    state: State,
    deadline: Instant,
}

enum State {
    /// The part of the request that has arrived.
    Receiving(Vec<u8>),
    Sending {
        response: Vec<u8>,
        /// The number of bytes that were written to the socket.
        sent: usize,
    },
    /// The response is sent, and the rest of the request is read and discarded.
    ///
    /// Closing a socket with unread data resets the connection, so that the client might lose the response (RFC 9112,
    /// section 9.6).
    Draining,
}

impl Connection {
    /// Creates a connection that expects a request on `stream`. The time limit starts at `now`.
    ///
    /// # Errors
    ///
    /// The socket cannot be set to nonblocking.
    pub fn new(stream: TcpStream, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, state: State::Receiving(Vec::new()), deadline: now + TIMEOUT })
    }

    /// Returns the deadline of the current state: the request, or the response.
    ///
    /// The connection is closed when the deadline passes.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns the socket, and the readiness that [`Self::advance`] needs to make progress.
    pub fn poll_fd(&self) -> PollFd<'_> {
        let flags = match self.state {
            State::Receiving(_) | State::Draining => PollFlags::POLLIN,
            State::Sending { .. } => PollFlags::POLLOUT,
        };
        PollFd::new(self.stream.as_fd(), flags)
    }

    /// Receives and sends as much as is possible without blocking. Returns whether the connection stays open.
    pub fn advance(&mut self, page: &Page, now: Instant) -> bool {
        if now >= self.deadline {
            return false;
        }
        match self.transfer(page, now) {
            Ok(goes_on) => goes_on,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    /// Performs the transfers of [`Self::advance`]. Returns whether the connection stays open.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the socket is not ready, or another error of the socket.
    fn transfer(&mut self, page: &Page, now: Instant) -> io::Result<bool> {
        let mut chunk = [0; CHUNK];
        if let State::Receiving(request) = &mut self.state {
            let length = self.stream.read(&mut chunk)?;
            request.extend(&chunk[..length]);
            match response::to(request, page) {
                Some(response) => {
                    self.state = State::Sending { response, sent: 0 };
                    self.deadline = now + TIMEOUT;
                }
                None => return Ok(length > 0),
            }
        }
        if let State::Sending { response, sent } = &mut self.state {
            while *sent < response.len() {
                match self.stream.write(&response[*sent..])? {
                    0 => return Ok(false),
                    length => *sent += length,
                }
            }
            self.stream.shutdown(Shutdown::Write)?;
            self.state = State::Draining;
        }
        Ok(self.stream.read(&mut chunk)? > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    const ALMOST: Duration = TIMEOUT.saturating_sub(Duration::from_millis(1));

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn the_whole_request_has_one_deadline() {
        let (mut client, server) = pair();
        let start = Instant::now();
        let mut connection = Connection::new(server, start).unwrap();
        for age in [Duration::ZERO, ALMOST] {
            client.write_all(b"G").unwrap();
            assert!(connection.advance(&Ok(String::new()), start + age));
        }
        client.write_all(b"E").unwrap();
        assert!(!connection.advance(&Ok(String::new()), start + TIMEOUT));
    }

    #[test]
    fn the_whole_response_has_one_deadline() {
        // The page exceeds the buffers of both sockets, so that the response cannot be sent at once.
        let page = Ok("x".repeat(64 << 20));
        let (mut client, server) = pair();
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        // Blocks until the request has arrived.
        server.peek(&mut [0]).unwrap();
        let start = Instant::now();
        let mut connection = Connection::new(server, start).unwrap();
        let mut part = vec![0; 1 << 20];
        for age in [Duration::ZERO, ALMOST] {
            assert!(connection.advance(&page, start + age));
            client.read_exact(&mut part).unwrap();
        }
        assert!(matches!(connection.state, State::Sending { .. }));
        assert!(!connection.advance(&page, start + TIMEOUT));
    }

    #[test]
    fn a_response_starts_a_new_deadline() {
        let (mut client, server) = pair();
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        server.peek(&mut [0]).unwrap();
        let start = Instant::now();
        let mut connection = Connection::new(server, start).unwrap();
        assert!(connection.advance(&Ok("page".to_owned()), start + ALMOST));
        assert_eq!(connection.deadline(), start + ALMOST + TIMEOUT);
        drop(client);
        while connection.advance(&Ok(String::new()), start + ALMOST) {}
    }
}
