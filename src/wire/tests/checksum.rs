//! `Sum` computes the Internet checksum of any data, regardless of how the data is divided.
//!
//! Sums are compared exactly, although one's complement has two zeros, 0x0000 and 0xffff. Only a sum of zeros is
//! 0x0000, because an addition that adds its carry back never returns to 0x0000. Both sides of a comparison must
//! therefore use the same zero.

use proptest::collection::vec;
use proptest::prelude::*;
use tcp_bounce_wire::checksum::Sum;

/// Returns the sum of big-endian words as RFC 1071 describes it. Each carry is added back at once.
fn naive_sum(bytes: &[u8]) -> u16 {
    bytes.chunks_exact(2).fold(0, |sum: u16, word| {
        let (sum, carry) = sum.overflowing_add(u16::from_be_bytes([word[0], word[1]]));
        sum + u16::from(carry)
    })
}

/// Returns the folded sum as a big-endian number. `Sum` keeps words in memory order.
fn folded(sum: Sum) -> u16 {
    u16::from_be_bytes(sum.fold().to_ne_bytes())
}

fn assert_sum(sum: Sum, expected: u16) {
    assert_eq!(folded(sum), expected, "{sum:x?}");
    assert_eq!(u16::from_be_bytes(sum.checksum()), !expected, "{sum:x?}");
}

/// Returns the sum of `count` copies of the two 16-bit words `words`.
fn repeated(words: [u8; 4], count: u32) -> Sum {
    (0..count).fold(Sum::ZERO, |sum, _| sum.words(words))
}

/// Returns `sum` plus the words in `bytes`, whose length must be even.
fn with(sum: Sum, bytes: &[u8]) -> Sum {
    bytes.chunks_exact(2).fold(sum, |sum, word| sum.word([word[0], word[1]]))
}

#[test]
fn matches_the_example_of_rfc_1071() {
    // RFC 1071, section 3, gives the sum ddf2.
    assert_sum(with(Sum::ZERO, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    assert_sum(Sum::ZERO.words([0x00, 0x01, 0xf2, 0x03]).words([0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
}

#[test]
fn sums_zeros_to_zero() {
    assert_sum(Sum::ZERO, 0);
    assert_sum(with(Sum::ZERO, &[]), 0);
    assert_sum(with(Sum::ZERO, &[0; 64]), 0);
}

#[test]
fn sums_one_word_to_itself() {
    for word in 0..=u16::MAX {
        assert_sum(Sum::ZERO.word(word.to_be_bytes()), word);
    }
}

#[test]
fn adds_carries_back_exactly() {
    // Values at the ends and in the middle of a 16-bit range, just before and after a carry.
    let digits = [0, 1, 2, 0x7fff, 0x8000, 0xfffd, 0xfffe, 0xffff];
    // `Sum` takes words in memory order.
    let sum_of = |number: u32| Sum::ZERO.words(number.to_ne_bytes());
    for low in digits {
        for middle in digits {
            for high in digits {
                let upper = (0..32).fold(sum_of(high), |sum, _| sum + sum);
                let sum = u64::from(high) << 32 | u64::from(middle) << 16 | u64::from(low);
                // One's complement is arithmetic modulo 2^16 - 1, where a sum other than zero is never 0x0000.
                let expected = if sum == 0 { 0 } else { (sum - 1) % 0xffff + 1 };
                assert_eq!(u64::from((upper + sum_of(middle << 16 | low)).fold()), expected, "{sum:#x}");
            }
        }
    }
}

#[test]
fn sums_all_ones_to_all_ones() {
    // All ones produce the most carries. 0xffff is a zero in one's complement, so the sum stays 0xffff.
    for length in (2..=512).step_by(2) {
        assert_sum(with(Sum::ZERO, &vec![0xff; length]), 0xffff);
    }
    assert_sum(with(Sum::ZERO, &[0xff; 65_536]), 0xffff);
    assert_sum(repeated([0xff; 4], 65_536), 0xffff);
}

#[test]
fn adds_back_the_carry_after_all_ones() {
    // After a sum of all ones, a lost carry changes the result: 0xffff + x must be x.
    for count in [1, 65_536] {
        let ones = repeated([0xff; 4], count);
        for word in 1..=u16::MAX {
            assert_sum(ones.word(word.to_be_bytes()), word);
        }
    }
}

/// Generates bytes that are often 0xff or 0, which lead to carries and to zero sums.
fn extreme_byte() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0xff), Just(0), any::<u8>()]
}

/// Returns `length` rounded down to whole 16-bit words.
fn even(length: usize) -> usize {
    length & !1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sums_bytes_as_rfc_1071_describes(bytes in vec(extreme_byte(), 0..200)) {
        let bytes = &bytes[..even(bytes.len())];
        assert_sum(with(Sum::ZERO, bytes), naive_sum(bytes));
    }

    #[test]
    fn is_independent_of_the_division_of_the_data(bytes in vec(extreme_byte(), 0..200), cuts in vec(0..3u8, 100)) {
        let mut rest = &bytes[..even(bytes.len())];
        let expected = naive_sum(rest);
        let mut sum = Sum::ZERO;
        for cut in cuts {
            (sum, rest) = match (cut, rest) {
                (0, [a, b, rest @ ..]) => (sum.word([*a, *b]), rest),
                (1, [a, b, c, d, rest @ ..]) => (sum.words([*a, *b, *c, *d]), rest),
                (2, [a, b, c, d, rest @ ..]) => (sum + with(Sum::ZERO, &[*a, *b, *c, *d]), rest),
                _ => break,
            };
        }
        assert_sum(with(sum, rest), expected);
    }

    #[test]
    fn sums_data_and_checksum_to_all_ones(bytes in vec(extreme_byte(), 0..200)) {
        // A receiver checks that the sum, including the checksum, is all ones.
        let sum = with(Sum::ZERO, &bytes[..even(bytes.len())]);
        assert_sum(sum.word(sum.checksum()), 0xffff);
    }
}
