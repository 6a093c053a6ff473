//! An independent parser of a SYN's options, and the options of Linux's SYN-ACK.

/// The TCP options of a segment that affect the reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SynOptions {
    pub timestamp: Option<[u8; 4]>,
    pub echo_reply: [u8; 4],
    pub sack: bool,
    pub window_scale: bool,
    pub signed: bool,
}

impl SynOptions {
    /// Parses options up to the end of the list or the first malformed option.
    pub fn of(mut options: &[u8]) -> Self {
        let mut parsed = Self::default();
        loop {
            options = match *options {
                [1, ref rest @ ..] => rest,
                [kind, length, ..] if kind > 1 && length > 1 && usize::from(length) <= options.len() => {
                    let (option, rest) = options.split_at(length.into());
                    match (kind, &option[2..]) {
                        (3, [_]) => parsed.window_scale = true,
                        (4, []) => parsed.sack = true,
                        (8, &[a, b, c, d, e, f, g, h]) => {
                            parsed.timestamp = Some([a, b, c, d]);
                            parsed.echo_reply = [e, f, g, h];
                        }
                        (19 | 29, _) => parsed.signed = true,
                        _ => {}
                    }
                    rest
                }
                _ => return parsed,
            }
        }
    }

    /// Returns these options without those that a SYN-ACK does not accept. `accepted` stands for timestamps, SACK and
    /// window scale.
    pub fn only(self, [timestamps, sack, window_scale]: [bool; 3]) -> Self {
        Self {
            timestamp: self.timestamp.filter(|_| timestamps),
            sack: self.sack && sack,
            window_scale: self.window_scale && window_scale,
            ..self
        }
    }

    /// Returns the options of Linux's SYN-ACK to a SYN with these options (`tcp_options_write`).
    pub fn taken_up(&self, mss: u16, now: u32, window_scale: u8) -> Vec<u8> {
        let mut options = vec![2, 4];
        options.extend(mss.to_be_bytes());
        if let Some(timestamp) = self.timestamp {
            options.extend(if self.sack { [4, 2, 8, 10] } else { [1, 1, 8, 10] });
            options.extend(now.to_be_bytes());
            options.extend(timestamp);
        } else if self.sack {
            options.extend([1, 1, 4, 2]);
        }
        if self.window_scale {
            options.extend([1, 3, 3, window_scale]);
        }
        options
    }
}
