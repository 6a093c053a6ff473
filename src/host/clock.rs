//! The kernel's clock of timestamps: its rate, and its offset from the time since the host booted.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::sync::OnceLock;
use std::time::Duration;

use nix::time::{ClockId, clock_getres, clock_gettime};
use tcp_bounce_wire::Clock;

/// The clock that advances with each jiffy.
const COARSE: ClockId = ClockId::CLOCK_MONOTONIC_COARSE;

/// Returns the jiffies in a second (`CONFIG_HZ`). Returns 250, the default of Linux, if the kernel does not tell.
pub fn hz() -> u32 {
    let resolution = clock_getres(COARSE).map(Duration::from).unwrap_or_default();
    let hz = 1_000_000_000 + resolution.as_nanos() / 2;
    hz.checked_div(resolution.as_nanos()).and_then(|hz| hz.try_into().ok()).unwrap_or(250)
}

/// Returns the difference between the milliseconds since the host booted and the jiffies in milliseconds. Linux's
/// TSvals are these milliseconds if `tcp_timestamps` is 2.
///
/// The jiffies start to count a little late. Only root can read how late, so the first result is kept. For other users,
/// the result is too small by up to a second.
pub fn offset_since_boot() -> u32 {
    static OFFSET: OnceLock<u32> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        let clock = Clock::new(hz());
        measured_offset(clock).unwrap_or_else(|| clock.at_boot(hz()).wrapping_neg())
    })
}

fn measured_offset(clock: Clock) -> Option<u32> {
    let now = || Some(Duration::from(clock_gettime(COARSE).ok()?).as_millis() as u32);
    // If another process ran between the readings, they may belong to different jiffies.
    (0..20).find_map(|_| {
        let (before, jiffies, after) = (now()?, jiffies()?, now()?);
        (before == after).then(|| before.wrapping_sub(clock.milliseconds(jiffies)))
    })
}

/// Returns the jiffies, which only root can read.
fn jiffies() -> Option<u64> {
    let mut lines = BufReader::new(File::open("/proc/timer_list").ok()?).lines();
    lines.find_map(|line| line.ok()?.strip_prefix("jiffies: ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_usual_rate() {
        assert!([100, 250, 300, 1000].contains(&hz()), "{}", hz());
    }

    #[test]
    fn converts_jiffies_at_each_rate() {
        for hz in [100, 250, 300, 1000] {
            let clock = Clock::new(hz);
            let boot = (1u64 << 32) - 300 * u64::from(hz);
            for seconds in [0, 1, 299, 300, 301, 86_400, 10_000_000] {
                let passed = clock.milliseconds(boot + seconds * u64::from(hz)).wrapping_sub(clock.at_boot(hz));
                let error = passed.wrapping_sub((seconds * 1000) as u32) as i32;
                // At 300 Hz, the fraction of a millisecond is rounded, by less than a millionth.
                assert!(error.unsigned_abs() <= 1 + seconds as u32 / 1000, "{hz} Hz, {seconds} s: {error} ms");
            }
        }
    }
}
