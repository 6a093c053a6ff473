//! The line by which a tcp-bounce with `--on-connect identify` identifies itself.
//!
//! It is the body of an HTTP/1.0 response, in which spaces pad the two endpoints:
//!
//! `tcp-bounce 192.0.2.1:80 reached from 203.0.113.7:53211 token=0123456789abcdef`

use std::net::SocketAddr;

use tcp_bounce_wire::identity;

/// The start of the HTTP response that contains the line.
const RESPONSE: &[u8] = b"HTTP/1.";

/// The number of hexadecimal digits of a token.
const TOKEN_DIGITS: usize = 16;

/// The content of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The address and port that the responder was reached at.
    pub destination: SocketAddr,
    /// The address and port that the responder saw as the client's.
    pub source: SocketAddr,
    /// The keyed hash of the four addresses and ports.
    pub token: u64,
}

/// An identity, and the facts of this side to compare it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identification {
    /// The content of the line.
    pub identity: Identity,
    /// The address and port of this side of the connection. `None` if the kernel does not report it.
    pub local: Option<SocketAddr>,
    /// Whether the token proves that the responder has the key. `None` if there is no key to check it with.
    pub is_proven: Option<bool>,
}

impl Identification {
    /// Returns whether the address or port of this side was translated on the way.
    pub fn has_translated_source(&self) -> bool {
        self.local.is_some_and(|local| !is_equal(local, self.identity.source))
    }

    /// Returns whether the address or port of the responder is another one than `target`, which was connected to.
    pub fn has_translated_destination(&self, target: SocketAddr) -> bool {
        !is_equal(target, self.identity.destination)
    }
}

/// Compares address and port. The scope of a link-local address belongs to one side only.
fn is_equal(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}

/// The check of the tokens with the key of the responder. Without a key, no token is checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenCheck(pub Option<[u8; 16]>);

impl TokenCheck {
    /// Returns whether the token of `identity` is the one that the key gives. `None` if there is no key.
    pub fn check(self, identity: &Identity) -> Option<bool> {
        let Identity { source, destination, token } = *identity;
        self.0.map(|key| identity::token(&key, source, destination) == Some(token))
    }
}

impl Identity {
    /// Parses the first bytes of an answer. Returns `None` if they are not, or not yet, a whole line of tcp-bounce.
    pub fn parse(answer: &[u8]) -> Option<Self> {
        let text = str::from_utf8(answer).ok().filter(|_| answer.starts_with(RESPONSE))?;
        let (_, body) = text.split_once("\r\n\r\n")?;
        let words: Vec<&str> = body.lines().next()?.split_whitespace().collect();
        let ["tcp-bounce", destination, "reached", "from", source, token] = words.as_slice() else { return None };
        let digits = token.strip_prefix("token=").filter(|digits| digits.len() == TOKEN_DIGITS)?;
        // `from_str_radix` also accepts a plus sign.
        let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let token = is_number.then(|| u64::from_str_radix(digits, 16).ok()).flatten()?;
        Some(Self { destination: destination.parse().ok()?, source: source.parse().ok()?, token })
    }

    /// Returns whether more bytes may complete `answer` to a line of tcp-bounce.
    pub fn may_follow(answer: &[u8]) -> bool {
        let length = answer.len().min(RESPONSE.len());
        answer[..length] == RESPONSE[..length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "tcp-bounce 192.0.2.1:8443        reached from 203.0.113.7:53211     token=0123456789abcdef\n";

    fn answer(body: &str) -> Vec<u8> {
        format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn reads_padded_endpoints_of_both_ip_versions() {
        let expected = Identity {
            destination: "192.0.2.1:8443".parse().unwrap(),
            source: "203.0.113.7:53211".parse().unwrap(),
            token: 0x0123_4567_89ab_cdef,
        };
        assert_eq!(Identity::parse(&answer(LINE)), Some(expected));
        let long = "tcp-bounce [2001:0db8:0000:0000:0000:0000:0000:0001]:80    reached from \
                    [2001:0db8:0000:0000:0000:0000:0000:0002]:53211 token=ffffffffffffffff";
        let expected = Identity {
            destination: "[2001:db8::1]:80".parse().unwrap(),
            source: "[2001:db8::2]:53211".parse().unwrap(),
            token: u64::MAX,
        };
        assert_eq!(Identity::parse(&answer(long)), Some(expected));
    }

    #[test]
    fn no_part_of_the_answer_is_taken_for_all_of_it() {
        let answer = answer(LINE.trim_end());
        for length in 0..answer.len() {
            assert_eq!(Identity::parse(&answer[..length]), None, "{length}");
            assert!(Identity::may_follow(&answer[..length]), "{length}");
        }
    }

    #[test]
    fn other_answers_are_not_those_of_tcp_bounce() {
        for body in [
            "It works!",
            "tcp-bounce",
            "tcp-bounce 192.0.2.1 reached from 203.0.113.7:53211 token=0123456789abcdef",
            "tcp-bounce 192.0.2.1:80 reached from 203.0.113.7:53211 token=0123456789abcde",
            "tcp-bounce 192.0.2.1:80 reached from 203.0.113.7:53211 token=+123456789abcdef",
            "tcp-bounce 192.0.2.1:80 reached from 203.0.113.7:53211 token=0123456789abcdef more",
        ] {
            assert_eq!(Identity::parse(&answer(body)), None, "{body}");
        }
        assert_eq!(Identity::parse(LINE.as_bytes()), None);
        for data in ["SSH-2.0-OpenSSH_9.2p1\r\n", "H2", "\u{fffd}"] {
            assert!(!Identity::may_follow(data.as_bytes()), "{data}");
        }
    }

    /// The token is that of the documentation of [`identity::token`].
    #[test]
    fn a_token_proves_the_key() {
        let line = "tcp-bounce 192.0.2.1:8443 reached from 203.0.113.7:53211 token=5b4829152c0a1b27";
        let identity = Identity::parse(&answer(line)).unwrap();
        assert_eq!(TokenCheck(Some([7; 16])).check(&identity), Some(true));
        assert_eq!(TokenCheck(Some([8; 16])).check(&identity), Some(false));
        assert_eq!(TokenCheck(None).check(&identity), None);
        let other = Identity { source: "203.0.113.8:53211".parse().unwrap(), ..identity };
        assert_eq!(TokenCheck(Some([7; 16])).check(&other), Some(false));
    }

    #[test]
    fn translated_endpoints_are_noticed() {
        let identity = Identity::parse(&answer(LINE)).unwrap();
        let seen = |local: &str| Identification { identity, local: Some(local.parse().unwrap()), is_proven: None };
        assert!(!seen("203.0.113.7:53211").has_translated_source());
        assert!(seen("203.0.113.7:53212").has_translated_source());
        assert!(seen("10.0.0.7:53211").has_translated_source());
        let identification = Identification { identity, local: None, is_proven: None };
        assert!(!identification.has_translated_source());
        assert!(!identification.has_translated_destination("192.0.2.1:8443".parse().unwrap()));
        assert!(identification.has_translated_destination("192.0.2.1:443".parse().unwrap()));
    }
}
