//! `Sum` is the Internet checksum, for all data and however it is cut into pieces.
//!
//! Sums are compared exactly. One's complement has two zeros, 0x0000 and 0xffff, but a sum of words that are not all
//! zero is never 0x0000: an addition whose carry is added back cannot get there. So both sides must give the same zero.

use proptest::collection::vec;
use proptest::prelude::*;
use tcp_bounce_wire::checksum::Sum;

/// The sum as RFC 1071 describes it: big-endian words, and each carry is added back at once.
fn naive_sum(bytes: &[u8]) -> u16 {
    bytes.chunks_exact(2).fold(0, |sum: u16, word| {
        let (sum, carry) = sum.overflowing_add(u16::from_be_bytes([word[0], word[1]]));
        sum + u16::from(carry)
    })
}

/// The folded sum as a big-endian number. `Sum` keeps words as they lie in memory.
fn folded(sum: Sum) -> u16 {
    u16::from_be_bytes(sum.fold().to_ne_bytes())
}

fn assert_sum(sum: Sum, expected: u16) {
    assert_eq!(folded(sum), expected, "{sum:x?}");
    assert_eq!(u16::from_be_bytes(sum.checksum()), !expected, "{sum:x?}");
}

/// `count` times the double word `words`.
fn repeated(words: [u8; 4], count: u32) -> Sum {
    (0..count).fold(Sum::ZERO, |sum, _| sum.words(words))
}

/// `sum` and these bytes: whole words.
fn with(sum: Sum, bytes: &[u8]) -> Sum {
    bytes.chunks_exact(2).fold(sum, |sum, word| sum.word([word[0], word[1]]))
}

/// The example of RFC 1071, section 3: the sum is ddf2.
#[test]
fn the_example_of_rfc_1071_comes_out() {
    assert_sum(with(Sum::ZERO, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    assert_sum(Sum::ZERO.words([0x00, 0x01, 0xf2, 0x03]).words([0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
}

#[test]
fn the_sum_of_nothing_is_zero() {
    assert_sum(Sum::ZERO, 0);
    assert_sum(with(Sum::ZERO, &[]), 0);
    assert_sum(with(Sum::ZERO, &[0; 64]), 0);
}

#[test]
fn every_word_is_its_own_sum() {
    for word in 0..=u16::MAX {
        assert_sum(Sum::ZERO.word(word.to_be_bytes()), word);
    }
}

/// Sums whose three 16-bit digits are at the ends of their range or in the middle: just where there are carries to be
/// added back, and just where there are not.
#[test]
fn carries_are_added_back_exactly() {
    let digits = [0, 1, 2, 0x7fff, 0x8000, 0xfffd, 0xfffe, 0xffff];
    // `Sum` takes numbers in the order of memory.
    let sum_of = |number: u32| Sum::ZERO.words(number.to_ne_bytes());
    for low in digits {
        for middle in digits {
            for high in digits {
                let upper = (0..32).fold(sum_of(high), |sum, _| sum + sum);
                let sum = u64::from(high) << 32 | u64::from(middle) << 16 | u64::from(low);
                // One's complement is arithmetic modulo 2^16 - 1, in which what is not zero is not 0x0000.
                let expected = if sum == 0 { 0 } else { (sum - 1) % 0xffff + 1 };
                assert_eq!(u64::from((upper + sum_of(middle << 16 | low)).fold()), expected, "{sum:#x}");
            }
        }
    }
}

/// The most carries there can be: 0xffff is one of the two zeros, so the sum of any number of them stays what it is.
#[test]
fn all_ones_sum_to_all_ones() {
    for length in (2..=512).step_by(2) {
        assert_sum(with(Sum::ZERO, &vec![0xff; length]), 0xffff);
    }
    assert_sum(with(Sum::ZERO, &[0xff; 65_536]), 0xffff);
    assert_sum(repeated([0xff; 4], 65_536), 0xffff);
}

/// One more after a sum of all ones is the sum where a lost carry shows: 0xffff + x is x.
#[test]
fn the_carry_of_each_word_behind_all_ones_is_added_back() {
    for count in [1, 65_536] {
        let ones = repeated([0xff; 4], count);
        for word in 1..=u16::MAX {
            assert_sum(ones.word(word.to_be_bytes()), word);
        }
    }
}

/// Bytes that are often all ones or zero, as it is these that make carries and zeros.
fn extreme_byte() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0xff), Just(0), any::<u8>()]
}

/// Whole words.
fn even(length: usize) -> usize {
    length & !1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_are_summed_as_rfc_1071_describes(bytes in vec(extreme_byte(), 0..200)) {
        let bytes = &bytes[..even(bytes.len())];
        assert_sum(with(Sum::ZERO, bytes), naive_sum(bytes));
    }

    #[test]
    fn it_does_not_matter_how_the_data_is_cut(bytes in vec(extreme_byte(), 0..200), cuts in vec(0..3u8, 100)) {
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

    /// What a receiver does: the sum of all words with the checksum among them is all ones.
    #[test]
    fn data_with_its_checksum_sums_to_all_ones(bytes in vec(extreme_byte(), 0..200)) {
        let sum = with(Sum::ZERO, &bytes[..even(bytes.len())]);
        assert_sum(sum.word(sum.checksum()), 0xffff);
    }
}
